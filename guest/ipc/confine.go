package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Settings reads into v what guestd started this service with.
func Settings(v any) error {
	text, err := io.ReadAll(io.LimitReader(os.Stdin, MaxMessage+1))
	defer clear(text)
	if err == nil && len(text) > MaxMessage {
		err = errors.New("there is too much of it")
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("read settings of the service: %w", err)
	}
	return nil
}

// maxData bounds the memory of a service without rights, in bytes.
const maxData = 512 << 20

// Confine gives up for good what a service without rights never needs: new
// rights by any program it could start, being looked into by processes of its own
// user, and memory beyond a bound. What it has stays in memory where guestd allows
// that. Call it after Settings.
func Confine() error {
	for limit, most := range map[int]uint64{unix.RLIMIT_DATA: maxData, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(limit, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("give up memory beyond %d bytes: %w", most, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("give up being looked into: %w", err)
	}
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	return nil
}

// Begin begins a service without rights: it reads its settings, gives up what it
// never needs, and returns a context that ends when guestd stops it.
func Begin(settings any) (context.Context, context.CancelFunc, error) {
	if err := Settings(settings); err != nil {
		return nil, nil, err
	}
	if err := Confine(); err != nil {
		return nil, nil, err
	}
	ctx, stop := UntilStopped()
	return ctx, stop, nil
}

// UntilStopped returns a context that ends when guestd stops this service.
func UntilStopped() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
}
