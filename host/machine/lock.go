package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Lock keeps a folder for one process. The kernel releases it when the process
// ends, however that happens.
type Lock struct{ file *os.File }

// LockFolder locks dir, which is created if missing; who says what is being
// done there, and is shown to whoever comes second.
func LockFolder(dir, who string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(file, 200))
		file.Close()
		return nil, fmt.Errorf("%s is in use by %s (stop that one first, or choose another folder with --state)",
			dir, strings.TrimSpace(string(holder)))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	// The holder's line is information only; the lock is the kernel's.
	if err := file.Truncate(0); err == nil {
		fmt.Fprintf(file, "process %d, %s\n", os.Getpid(), who)
	}
	return &Lock{file}, nil
}

// Release gives the folder up.
func (l *Lock) Release() error { return l.file.Close() }
