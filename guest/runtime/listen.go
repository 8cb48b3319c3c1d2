package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listen returns a context that ends when the machine is told to stop: by a
// signal, or by the power button. It also starts the reaping of orphans.
func (m *machine) listen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	go func() {
		for range children { // until the power goes
			m.commands.Reap()
		}
	}()
	go func() {
		if err := powerButton(ctx); err == nil {
			stop()
		} else if ctx.Err() == nil {
			m.out.Note(fmt.Sprintf("no power button: %v", err))
		}
	}()
	return ctx, stop
}

// Input events (linux/input-event-codes.h).
const (
	eventKey  = 1
	keyPower  = 116
	eventSize = 24 // struct input_event on 64 bits: time 16, type u16, code u16, value s32
)

// powerButton returns nil once the power button was pressed. It waits for the
// button's driver, which may still be loading.
func powerButton(ctx context.Context) error {
	device, err := findButton(ctx)
	if err != nil {
		return err
	}
	defer device.Close()
	closed := context.AfterFunc(ctx, func() { device.Close() })
	defer closed()
	event := make([]byte, eventSize)
	for {
		if _, err := device.Read(event); err != nil {
			return fmt.Errorf("read power button: %w", err)
		}
		if pressed(event) {
			return nil
		}
	}
}

func pressed(event []byte) bool {
	ne := binary.NativeEndian
	return ne.Uint16(event[16:]) == eventKey && ne.Uint16(event[18:]) == keyPower && ne.Uint32(event[20:]) == 1
}

func findButton(ctx context.Context) (*os.File, error) {
	const inputs = "/sys/class/input"
	deadline := time.After(2 * time.Minute)
	for {
		names, err := filepath.Glob(inputs + "/event*/device/name")
		if err != nil {
			return nil, err
		}
		for _, path := range names {
			name, err := os.ReadFile(path)
			if err != nil || strings.TrimSpace(string(name)) != "Power Button" {
				continue
			}
			event := filepath.Base(filepath.Dir(filepath.Dir(path)))
			return os.Open("/dev/input/" + event)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline:
			return nil, errors.New("its driver did not show up (modules button and evdev)")
		case <-time.After(200 * time.Millisecond):
		}
	}
}
