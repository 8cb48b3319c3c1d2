package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// engineGroup is the cgroup of this process, the daemons and whatever they start
// but containers, so that all of it can be ended when this process has died.
const engineGroup = "/engine"

// engineWeight is for all of it together: several times what containers have,
// as its processes would have one by one.
const engineWeight = "400"

// leftoverPatience is how long the kernel may take to end processes.
const leftoverPatience = 10 * time.Second

// endLeftovers ends what a process before this one left running, containers
// first, takes their folders' sockets away, and joins the cgroup of the engine.
func endLeftovers(ctx context.Context, root, run string) error {
	ctx, cancel := context.WithTimeout(ctx, leftoverPatience)
	defer cancel()
	for _, group := range []string{cgroup, engineGroup} {
		if err := endGroup(ctx, filepath.Join(root, group)); err != nil {
			return fmt.Errorf("end what ran before: %w", err)
		}
	}
	folders := Folders{Run: run}
	for _, path := range []string{folders.Socket(), folders.gateSocket()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("end what ran before: %w", err)
		}
	}
	group := filepath.Join(root, engineGroup)
	err := os.MkdirAll(group, 0o755)
	if err == nil {
		err = write(filepath.Join(group, "cgroup.procs"), strconv.Itoa(os.Getpid()))
	}
	if err != nil {
		return fmt.Errorf("join the engine's cgroup: %w", err)
	}
	return nil
}

// endGroup kills all processes of a cgroup and those below, and waits until they
// are gone.
func endGroup(ctx context.Context, folder string) error {
	if err := write(filepath.Join(folder, "cgroup.kill"), "1"); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for {
		events, err := os.ReadFile(filepath.Join(folder, "cgroup.events"))
		if err != nil || strings.Contains(string(events), "populated 0") {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes of %s do not end: %w", folder, ctx.Err())
		case <-time.After(poll):
		}
	}
}
