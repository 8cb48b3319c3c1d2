// Probe is the init of a test's machine: it gives the driver's modules to the
// kernel, says what became of each and of the symbols that they look for, as one
// line of JSON on the console, and switches the machine off.
package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// module is what became of one.
type module struct {
	Error   string   // name of the errno; "" where the kernel took it
	Symbols int      // that it looks for in the kernel and in other modules
	Missing []string // of those
}

func main() {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			fmt.Println("mount", m[1], err)
		}
	}
	modules, err := load("/modules.list")
	if err != nil {
		fmt.Println(err)
	}
	line, err := json.Marshal(map[string]any{"modules": modules, "log": messages()})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("\nprobe: %s\n", line)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// load gives the modules of a list to the kernel, in order: a file and parameters a
// line. What one exports counts
// for those after it whether or not the kernel kept it.
func load(list string) (map[string]module, error) {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	out := map[string]module{}
	exported := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		file, parameters, _ := strings.Cut(strings.TrimSpace(line), " ")
		m, err := symbols(file, exported)
		if err != nil {
			return out, err
		}
		f, err := os.Open(file)
		if err != nil {
			return out, err
		}
		if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil {
			m.Error = unix.ErrnoName(err.(unix.Errno))
		}
		f.Close()
		out[filepath.Base(file)] = m
	}
	return out, nil
}

// symbols holds what a module looks for against the running kernel and against
// exported, which it adds to.
func symbols(file string, exported map[string]bool) (m module, err error) {
	text, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return m, err
	}
	there := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 2 {
			there[fields[2]] = true
		}
	}
	f, err := elf.Open(file)
	if err != nil {
		return m, err
	}
	defer f.Close()
	table, err := f.Symbols()
	if err != nil {
		return m, err
	}
	for _, s := range table {
		if name, ok := strings.CutPrefix(s.Name, "__ksymtab_"); ok {
			exported[name] = true
		}
		if s.Section == elf.SHN_UNDEF && s.Name != "" {
			m.Symbols++
			if !there[s.Name] && !exported[s.Name] {
				m.Missing = append(m.Missing, s.Name)
			}
		}
	}
	slices.Sort(m.Missing)
	return m, nil
}

// messages are those of the kernel's that are of the driver, or of modules that do
// not fit.
func messages() []string {
	buf := make([]byte, 256<<10)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	var out []string
	for line := range strings.Lines(string(buf[:n])) {
		_, line, _ = strings.Cut(line, "] ")
		if slices.ContainsFunc([]string{"NVRM", "nvidia", "spdm_check", "Unknown symbol", "WARNING", "BUG", "Oops", "rethunk", "Call Trace"}, func(word string) bool { return strings.Contains(line, word) }) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}
