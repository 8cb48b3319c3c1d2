package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/secretvm/secretvm/step"
)

// devProgram lets the operator of the machine run commands in it. Only images for
// development hold it, and stage 1 has halted any other under a config that is.
const devProgram = "/usr/lib/secretvm/dev"

// startDev runs it, from when there is a network until the end.
func (m *machine) startDev(ctx context.Context) {
	if !m.handover.config.Dev {
		return
	}
	m.out.Note("IMAGE FOR DEVELOPMENT: the operator of this machine can run commands in it")
	go func() {
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, devProgram)
			cmd.Env, cmd.Stderr = []string{}, os.Stderr
			err := m.commands.Start(cmd)
			if err == nil {
				err = m.commands.Wait(cmd)
			}
			if ctx.Err() == nil {
				m.out.Note(fmt.Sprintf("commands for development: %v", err))
			}
			_ = step.Pause(ctx, 10*time.Second)
		}
	}()
}
