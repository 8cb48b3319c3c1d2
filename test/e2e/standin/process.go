package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process tells what this process is, and may.
func process() (result struct {
	PID   int
	First string // name of the container's first process
	Files uint64 // that it may open
},
) {
	result.PID = os.Getpid()
	first, _ := os.ReadFile("/proc/1/comm")
	result.First = strings.TrimSpace(string(first))
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		result.Files = files.Max
	}
	return result
}

// end ends a process of the machine beside its first one, where the container sees
// the machine's processes. It returns how many it has ended.
func end(part string) (ended int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && strings.HasSuffix(string(line), "/guest-service\x00"+part+"\x00") && syscall.Kill(pid, syscall.SIGKILL) == nil {
			ended++
		}
	}
	return ended
}
