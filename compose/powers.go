package compose

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// What a container may have of its machine without being trusted with all of
// it, which is its TEE, its disks and its own processes. The guest holds every
// container that is created against this; reading a file, it only spares the
// owner a boot.

// capabilities are those that Docker gives, without the making of devices, and
// others that reach nothing outside of the container.
var capabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "LEASE", "NET_ADMIN", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE",
}

// CheckCapability reports a capability that reaches out of a container.
func CheckCapability(name string) error {
	if !slices.Contains(capabilities, strings.TrimPrefix(strings.ToUpper(name), "CAP_")) {
		return fmt.Errorf("it adds the capability %s", name)
	}
	return nil
}

// devices hold nothing of the machine.
var devices = []string{"/dev/fuse", "/dev/full", "/dev/net/tun", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"}

// CheckDevice reports a device of the machine.
func CheckDevice(name string) error {
	if !slices.Contains(devices, path.Clean(name)) {
		return fmt.Errorf("it is given the device %s", name)
	}
	return nil
}

var (
	// shown are files of the machine that say nothing about it.
	shown = []string{"/etc/localtime", "/etc/timezone"}
	// own are the folders of the machine's system.
	own = []string{
		"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
		"/var/lib/containerd", "/var/lib/docker", "/var/lock", "/var/run",
	}
)

// IsShown reports whether a path is one of the machine's files that any
// container may see.
func IsShown(source string) bool { return slices.Contains(shown, source) }

// CheckBind reports a path, absolute and clean, that belongs to the machine's
// system. Other paths are folders of the workload on its encrypted disk.
func CheckBind(source string) error {
	if IsShown(source) {
		return nil
	}
	for _, dir := range own {
		if source == dir || strings.HasPrefix(source, dir+"/") || source == "/" || strings.HasPrefix(dir, source+"/") {
			return fmt.Errorf("it mounts %s of the machine", source)
		}
	}
	return nil
}

// checkPowers reports the first service that wants the machine itself and is not
// among those that may have it.
func (s Settings) checkPowers(doc *yaml.Node) error {
	keys, values := pairs(lookup(doc, "services"))
	for i, key := range keys {
		if slices.Contains(s.Privileged, key.Value) {
			continue
		}
		err := powers(values[i])
		if n := lookup(values[i], "network_mode"); err == nil && n != nil && n.Value == "host" && len(s.Egress) > 0 {
			err = fmt.Errorf("it is in the machine's own network, where egress cannot be held to a list")
		}
		if err != nil {
			return fmt.Errorf("service %s: %w: leave that out, or name the service in %s, as privileged: [%s], which trusts it with the whole machine and which everybody can see",
				key.Value, err, SettingsKey, key.Value)
		}
	}
	return nil
}

func powers(service *yaml.Node) error {
	for _, c := range []struct {
		key   string
		check func(value string) error
	}{
		{"privileged", func(v string) error {
			if v != "false" {
				return fmt.Errorf("it is privileged")
			}
			return nil
		}},
		{"pid", notHost("processes")},
		{"ipc", notHost("shared memory")},
		{"cgroup_parent", func(v string) error { return fmt.Errorf("it has the cgroup_parent %s", v) }},
		{"cap_add", CheckCapability},
		{"devices", func(v string) error { v, _, _ = strings.Cut(v, ":"); return CheckDevice(v) }},
		{"device_cgroup_rules", func(v string) error { return fmt.Errorf("it has the device rule %q", v) }},
		{"security_opt", func(v string) error {
			if strings.HasPrefix(v, "systempaths") {
				return fmt.Errorf("it has %s", v)
			}
			return nil
		}},
		{"volumes", checkVolume},
	} {
		n := lookup(service, c.key)
		if n == nil {
			continue
		}
		items := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			items = n.Content
		}
		for _, item := range items {
			item = follow(item)
			value := item.Value
			for _, name := range []string{"source", "target"} { // the long form; a device or a volume
				if field := lookup(item, name); field != nil && value == "" {
					value = field.Value + ":"
				}
			}
			if value == "" {
				continue
			}
			if err := c.check(value); err != nil {
				return at(item, "%v", err)
			}
		}
	}
	return nil
}

func notHost(what string) func(string) error {
	return func(v string) error {
		if v == "host" {
			return fmt.Errorf("it shares the machine's %s", what)
		}
		return nil
	}
}

// checkVolume looks at a volume in the short form, whose source is a path.
func checkVolume(v string) error {
	source, _, found := strings.Cut(v, ":")
	source = path.Clean(source)
	if !found || !path.IsAbs(source) || source == vm.APISocket || source == vm.TLSFolder || path.Dir(source) == vm.TLSFolder { // those have grants of their own
		return nil
	}
	return CheckBind(source)
}
