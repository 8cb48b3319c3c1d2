package runtime

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/secretvm/secretvm/guest/clock"
	"github.com/secretvm/secretvm/step"
)

const (
	timeProgram = "/usr/lib/secretvm/ntp"
	timePause   = time.Minute // until it is started again
	nobody      = 65534
)

// startClock moves the clock to when the image was made, which is what the files
// of the verified root say, if the host says that it is earlier.
func (m *machine) startClock() {
	moved, err := m.clock.AfterImage("/proc/self/exe")
	switch {
	case err != nil:
		m.out.Note(err.Error())
	case moved > 0:
		m.out.Note("the host's clock is behind the image by " + moved.Round(time.Second).String())
	}
}

// holdClock holds the clock against the block that granted the keys, before
// anything looks at a certificate, and has the servers of the measured config
// asked from then on.
func (m *machine) holdClock(ctx context.Context) (remark string, err error) {
	var bounds clock.Bounds
	bounds.Block, bounds.Offered, bounds.Heard = m.session.Decided()
	moved, err := m.clock.Hold(bounds)
	if err != nil {
		return "", err
	}
	if moved != 0 {
		remark = ", clock moved by " + moved.Round(time.Second).String()
	}
	if servers := m.handover.config.Time; len(servers) > 0 {
		go m.askServers(ctx, servers)
	}
	return remark, nil
}

// askServers runs the process that asks, without rights, and corrects the clock by
// what it says.
func (m *machine) askServers(ctx context.Context, servers []string) {
	for ctx.Err() == nil {
		if err := m.askOnce(ctx, servers); err != nil && ctx.Err() == nil {
			m.out.Note(fmt.Sprintf("time servers: %v", err))
		}
		_ = step.Pause(ctx, timePause)
	}
}

func (m *machine) askOnce(ctx context.Context, servers []string) error {
	cmd := exec.CommandContext(ctx, timeProgram, servers...)
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.commands.Start(cmd); err != nil {
		return err
	}
	err = m.clock.Follow(answers)
	_ = cmd.Process.Kill()
	if ended := m.commands.Wait(cmd); err == nil {
		err = ended
	}
	return err
}
