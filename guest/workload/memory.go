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

// A container that takes more memory than there is does not end by itself soon:
// without swap the kernel drops the programs of all containers from memory and
// reads them again, for minutes, before it calls that too little. So what it
// would end is ended here.
const (
	strained  = 95  // per cent of the limit in memory that cannot be dropped
	scarce    = 8   // per cent of the machine's memory that can be had, or less
	refaults  = 256 // pages in a look that were dropped and read again
	straining = 3   // looks in a row
	lookPause = time.Second
)

// memory is what is looked at of a cgroup's memory.stat (cgroup v2, "Memory").
type memory struct {
	kept     uint64 // bytes that only an end gives back: anonymous and shared
	refaults uint64 // pages of files that were read again, ever
}

func readMemory(folder string) (m memory, err error) {
	return parseMemory(filepath.Join(folder, "memory.stat"))
}

// parseMemory reads names and numbers, a pair a line.
func parseMemory(path string) (m memory, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return m, fmt.Errorf("read %s of %s: %w", name, path, err)
		}
		switch name {
		case "anon", "shmem":
			m.kept += n
		case "workingset_refault_file":
			m.refaults = n
		}
	}
	return m, nil
}

// Relieve ends the largest container when all together have used their memory
// up, until ctx ends.
func (e *Engine) Relieve(ctx context.Context) {
	r := &relief{folder: filepath.Join(cgroups, cgroup), proc: "/proc"}
	ticker := time.NewTicker(lookPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		largest, err := r.look()
		switch {
		case err != nil && !errors.Is(err, os.ErrNotExist): // of a container that has just ended
			e.note(fmt.Sprintf("look at the memory of containers: %v", err))
			return
		case largest != "":
			e.note(fmt.Sprintf("the memory of all containers is used up: ending %.12s, the largest", largest))
		}
	}
}

// relief remembers earlier looks.
type relief struct {
	folder, proc string
	last, whole  memory // of the containers, and of the machine
	looked       bool
	count        int // looks in a row under strain
}

// look looks once. It returns the container that it has ended, if it has.
func (r *relief) look() (ended string, err error) {
	text, err := os.ReadFile(filepath.Join(r.folder, "memory.max"))
	if err != nil {
		return "", err
	}
	limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return "", fmt.Errorf("read the limit of memory: %w", err)
	}
	now, err := readMemory(r.folder)
	if err != nil {
		return "", err
	}
	machine, short, err := r.machine()
	if err != nil {
		return "", err
	}
	under := now.kept >= limit/100*strained && now.refaults >= r.last.refaults+refaults && r.looked
	under = under || short && machine.refaults >= r.whole.refaults+refaults && r.looked
	if r.last, r.whole, r.looked = now, machine, true; !under {
		r.count = 0
		return "", nil
	}
	if r.count++; r.count < straining {
		return "", nil
	}
	r.count = 0
	return r.endLargest()
}

// machine looks at the whole machine's memory: its programs suffer as well when
// what is left to them is not enough.
func (r *relief) machine() (m memory, short bool, err error) {
	if m, err = parseMemory(filepath.Join(r.proc, "vmstat")); err != nil {
		return m, false, err
	}
	text, err := os.ReadFile(filepath.Join(r.proc, "meminfo"))
	if err != nil {
		return m, false, err
	}
	var total, available uint64 // kB
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "MemTotal: %d kB", &total)
		_, _ = fmt.Sscanf(line, "MemAvailable: %d kB", &available)
	}
	return m, available <= total/100*scarce, nil
}

func (r *relief) endLargest() (name string, err error) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return "", err
	}
	var most uint64
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if m, err := readMemory(filepath.Join(r.folder, entry.Name())); err == nil && m.kept > most {
			name, most = entry.Name(), m.kept
		}
	}
	if name == "" {
		return "", nil
	}
	return name, write(filepath.Join(r.folder, name, "cgroup.kill"), "1")
}
