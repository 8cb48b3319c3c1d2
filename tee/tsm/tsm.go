// Package tsm asks Linux for reports of the machine's TEE, through configfs-tsm
// (Documentation/ABI/testing/configfs-tsm-report in Linux, since version 6.7).
//
// A folder made below Folder is a request: what is written to inblob is bound by
// the report that outblob then gives, and generation counts writes, so that
// nobody is given the answer to another's question.
package tsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Folder is where requests are made, once configfs is mounted.
const Folder = "/sys/kernel/config/tsm/report"

// attempts bounds how often a request that something disturbed is made anew.
const attempts = 3

// ErrDisturbed says that a request was written to between its question and its
// answer, so that the answer may be to another question.
var ErrDisturbed = errors.New("the request was changed while it was answered")

// Files are the operations on configfs; tests play the kernel.
type Files interface {
	MkdirTemp(dir, pattern string) (string, error)
	ReadFile(name string) ([]byte, error)
	WriteFile(name string, contents []byte) error
	RemoveAll(path string) error // of one request: a folder, whose files go with it
}

// Request is one question.
type Request struct {
	Provider string   // the driver that must answer: tdx_guest, sev_guest
	Level    string   // the privilege level to report for; empty where there are none
	Data     [64]byte // report data
}

// Open returns the real files.
func Open() (Files, error) {
	info, err := os.Stat(Folder)
	if err != nil {
		return nil, fmt.Errorf("%w (is configfs mounted and tsm_report loaded?)", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder", Folder)
	}
	return configfs{}, nil
}

type configfs struct{}

func (configfs) MkdirTemp(dir, pattern string) (string, error) { return os.MkdirTemp(dir, pattern) }
func (configfs) ReadFile(name string) ([]byte, error)          { return os.ReadFile(name) }
func (configfs) WriteFile(name string, b []byte) error         { return os.WriteFile(name, b, 0o200) }
func (configfs) RemoveAll(path string) error                   { return os.Remove(path) }

// Ask returns the report. It waits for turn, so that one request is made at a
// time, and until ctx ends: the kernel waits for the host without a bound.
func Ask(ctx context.Context, turn sync.Locker, files Files, r Request) ([]byte, error) {
	var blob []byte
	done := make(chan error, 1)
	go func() {
		turn.Lock()
		defer turn.Unlock()
		var err error
		blob, err = insist(files, r)
		done <- err
	}()
	select {
	case err := <-done:
		return blob, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// insist makes a request of its own, and another one where it was disturbed.
func insist(files Files, r Request) (blob []byte, err error) {
	for range attempts {
		blob, err = ask(files, r)
		if !errors.Is(err, ErrDisturbed) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	return blob, err
}

func ask(files Files, r Request) (blob []byte, err error) {
	entry, err := files.MkdirTemp(Folder, "secretvm-")
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	defer func() {
		if removing := files.RemoveAll(entry); err == nil && removing != nil {
			err = fmt.Errorf("remove the request: %w", removing)
		}
	}()
	generation, err := readGeneration(files, entry)
	if err != nil {
		return nil, err
	}
	if r.Level != "" {
		if err := files.WriteFile(entry+"/privlevel", []byte(r.Level)); err != nil {
			return nil, fmt.Errorf("write privlevel: %w%s", err, floor(files, entry, r.Level))
		}
		generation++
	}
	if err := files.WriteFile(entry+"/inblob", r.Data[:]); err != nil {
		return nil, fmt.Errorf("write inblob: %w", err)
	}
	generation++
	if blob, err = files.ReadFile(entry + "/outblob"); err != nil {
		return nil, fmt.Errorf("read outblob: %w", err)
	}
	provider, err := files.ReadFile(entry + "/provider")
	if err != nil {
		return nil, fmt.Errorf("read provider: %w", err)
	}
	after, err := readGeneration(files, entry)
	switch {
	case err != nil:
		return nil, err
	case after != generation:
		return nil, fmt.Errorf("%w: generation is %d, want %d", ErrDisturbed, after, generation)
	case strings.TrimSuffix(string(provider), "\n") != r.Provider:
		return nil, fmt.Errorf("provider is %.32q, want %q", provider, r.Provider)
	}
	return blob, nil
}

func readGeneration(files Files, entry string) (uint64, error) {
	text, err := files.ReadFile(entry + "/generation")
	if err != nil {
		return 0, fmt.Errorf("read generation: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("generation is %.32q, want a number", text)
	}
	return n, nil
}

// floor says why the kernel does not take a privilege level, where it is the
// reason: Linux itself runs below it.
func floor(files Files, entry, level string) string {
	text, err := files.ReadFile(entry + "/privlevel_floor")
	if f := strings.TrimSuffix(string(text), "\n"); err == nil && f != level {
		return fmt.Sprintf(": the kernel runs at level %.8s, want %s (launch without an SVSM)", f, level)
	}
	return ""
}
