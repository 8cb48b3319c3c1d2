package doctor

import (
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Facts is what is known of a computer.
type Facts struct {
	Probe
	CPU         CPU
	Kernel      Version
	Release     string // of the kernel, as it calls itself
	CommandLine []string
	Parameters  map[string]string // of modules that were asked for: "kvm_intel.tdx": "Y"
	Modules     []string          // loaded ones among those that matter
	KVMGroup    Group
	Total, Free int64 // memory, bytes
	SGX         bool  // the device of enclaves is there
	QGS         QGS
	PCCS        PCCS
}

// CPU is the first processor of /proc/cpuinfo.
type CPU struct {
	Vendor, Name  string
	Family, Model int
	Flags         map[string]bool
}

// Version is a version of Linux.
type Version struct{ Major, Minor int }

// Before reports whether v is older than major.minor.
func (v Version) Before(major, minor int) bool {
	return v.Major < major || v.Major == major && v.Minor < minor
}

// Group is the group kvm of /etc/group.
type Group struct {
	ID      int // -1: there is none
	Members []string
}

// QGS is Intel's quote generation service.
type QGS struct {
	Installed, Running bool
	Port               int // of its vsock; 0: it listens at a UNIX socket
}

// PCCS is where the quoting library gets the platform's certificates.
type PCCS struct {
	URL       string // empty: not configured
	Local     bool   // it is on this computer
	Port      int
	Listening bool // something does at that port of this computer
}

// maxFile bounds a file that is read, in bytes; /proc/cpuinfo of large hosts is.
const maxFile = 4 << 20

// Gather reads the files below root, which is / of a computer or a record of it.
// What is not there is simply not known.
func Gather(root fs.FS, p Probe) Facts {
	f := Facts{Probe: p, Parameters: map[string]string{}, KVMGroup: Group{ID: -1}}
	f.CPU = readCPU(text(root, "proc/cpuinfo"))
	f.Release = strings.TrimSpace(text(root, "proc/sys/kernel/osrelease"))
	f.Kernel = readVersion(f.Release)
	f.CommandLine = strings.Fields(text(root, "proc/cmdline"))
	for _, name := range []string{"kvm_intel.tdx", "kvm_amd.sev", "kvm_amd.sev_es", "kvm_amd.sev_snp"} {
		module, parameter, _ := strings.Cut(name, ".")
		if value := strings.TrimSpace(text(root, "sys/module/"+module+"/parameters/"+parameter)); value != "" {
			f.Parameters[name] = value
		}
	}
	for _, module := range []string{"kvm", "kvm_intel", "kvm_amd", "vsock_loopback", "ccp"} {
		if exists(root, "sys/module/"+module) {
			f.Modules = append(f.Modules, module)
		}
	}
	f.KVMGroup = readGroup(text(root, "etc/group"))
	f.Total, f.Free = readMemory(text(root, "proc/meminfo"))
	f.SGX = exists(root, "dev/sgx_enclave")
	f.QGS = readQGS(root)
	f.PCCS = readPCCS(root)
	return f
}

func (f *Facts) loaded(module string) bool { return slices.Contains(f.Modules, module) }

func text(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil || len(b) > maxFile {
		return ""
	}
	return string(b)
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

func readCPU(info string) CPU {
	c := CPU{Flags: map[string]bool{}}
	for line := range strings.Lines(info) {
		name, value, is := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "vendor_id":
			c.Vendor = value
		case "model name":
			c.Name = value
		case "cpu family":
			c.Family, _ = strconv.Atoi(value)
		case "model":
			c.Model, _ = strconv.Atoi(value)
		case "flags":
			for _, flag := range strings.Fields(value) {
				c.Flags[flag] = true
			}
		}
		if !is && len(c.Flags) > 0 { // the blank line behind the first processor
			break
		}
	}
	return c
}

var versionPattern = regexp.MustCompile(`^(\d+)\.(\d+)`)

func readVersion(release string) (v Version) {
	if m := versionPattern.FindStringSubmatch(release); m != nil {
		v.Major, _ = strconv.Atoi(m[1])
		v.Minor, _ = strconv.Atoi(m[2])
	}
	return v
}

func readGroup(groups string) Group {
	for line := range strings.Lines(groups) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 4 || fields[0] != "kvm" {
			continue
		}
		if id, err := strconv.Atoi(fields[2]); err == nil {
			return Group{id, strings.FieldsFunc(fields[3], func(r rune) bool { return r == ',' })}
		}
	}
	return Group{ID: -1}
}

func readMemory(info string) (total, free int64) {
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "MemTotal:":
			total = n << 10
		case fields[0] == "MemAvailable:":
			free = n << 10
		}
	}
	return total, free
}

// setting returns the value of "name = value" in a configuration file.
func setting(config, name string) string {
	for line := range strings.Lines(config) {
		key, value, is := strings.Cut(line, "=")
		if is && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
