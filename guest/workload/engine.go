package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/guest/gate"
	"github.com/secretvm/secretvm/guest/gpu"
)

// Engine is the container engine of a machine.
type Engine struct {
	folders   Folders
	commands  Commands
	note      func(string)
	restarted chan struct{}
	dockerd   *daemon
	docker    *docker

	policy   gate.Policy
	resolver netip.Addr
	shut     context.CancelFunc // of the gate
}

// Hold says which containers there may be, and with resolver, if it is valid,
// what they ask for names. Call it before Start.
func (e *Engine) Hold(policy gate.Policy, resolver netip.Addr) {
	e.policy, e.resolver = policy, resolver
}

// NewEngine makes an engine that is not started. note tells a person what
// happens to dockerd.
func NewEngine(folders Folders, commands Commands, note func(string)) *Engine {
	e := &Engine{folders: folders, commands: commands, note: note, restarted: make(chan struct{}, 1), docker: newDocker(folders.Socket())}
	born := func(pid int) {
		if err := spare(pid); err != nil {
			note(fmt.Sprintf("a daemon may be the first that dies where memory runs out: %v", err))
		}
	}
	e.dockerd = &daemon{name: "dockerd", commands: commands, note: note, born: born, command: func() *exec.Cmd {
		return command(dockerd, dockerdArguments(folders, e.resolver)...)
	}, lost: e.workloadLost}
	return e
}

// lazyCollector lets Docker's programs, which are all written in Go, collect
// garbage less often while they start: an eighth of the time to the first
// container, for some dozen MB. The limit holds it in bounds; containers do not
// inherit it.
var lazyCollector = []string{"GOGC=400", "GOMEMLIMIT=256MiB"}

func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	// DOCKER_RAMDISK: runc must not pivot_root, which a root file system that
	// came by switch-root from an initramfs may not allow.
	cmd.Env = append([]string{searchPath, "DOCKER_RAMDISK=1", "TMPDIR=/tmp"}, lazyCollector...)
	return cmd
}

// dockerdArguments lists where this engine differs from Docker's defaults.
func dockerdArguments(f Folders, resolver netip.Addr) []string {
	args := []string{
		"--config-file", f.dockerdConfig(), // empty: nothing but these arguments counts
		"--data-root", filepath.Join(f.Data, "docker"),
		"--exec-root", filepath.Join(f.Run, "docker"),
		"--pidfile", filepath.Join(f.Run, "docker.pid"),
		"--host", "unix://" + f.Socket(), // no TCP: only guestd talks to it
		"--storage-driver", "overlay2",
		// A transaction for each change, where iptables runs once for each rule.
		"--firewall-backend", "nftables",
		// crun starts containers in a third of the time that runc takes.
		"--add-runtime", "crun=" + crun, "--default-runtime", "crun",
		// There is no systemd in the guest.
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		// Bounded logs, on the encrypted disk.
		"--log-driver", "local", "--log-opt", "max-size=10m", "--log-opt", "max-file=3",
		"--log-level", "warn",
		// Containers of an earlier boot start when the compose file of this boot
		// says so, not before: it may be another one.
		"--restart=false",
		// All containers share limits, which leave enough to the machine.
		"--cgroup-parent", cgroup,
	}
	if resolver.IsValid() {
		args = append(args, "--dns", resolver.String())
	}
	return args
}

// settings are what dockerd takes from a file only.
type settings struct {
	Features map[string]bool `json:"features"`
	CDIDirs  []string        `json:"cdi-spec-dirs,omitempty"`
}

func dockerdSettings(policy gate.Policy) settings {
	s := settings{Features: map[string]bool{
		// Images stay where the disks of existing machines have them.
		"containerd-snapshotter": false,
		// containerd is a part of dockerd: one program to read and start. Containers
		// do not outlive dockerd anyway, which has no --live-restore.
		"embedded-containerd": true,
		// crun 1.21 gives a container that has a time namespace one for processes as
		// well, whatever was asked for: "pid: host" would show the container alone.
		"time-namespaces": false,
		"cdi":             policy.GPUs,
	}}
	if policy.GPUs {
		s.CDIDirs = []string{gpu.CDIFolder}
	}
	return s
}

// Start starts dockerd. Ready says when it can be used.
func (e *Engine) Start() error {
	for _, dir := range []string{
		filepath.Join(e.folders.Run, "docker"), filepath.Join(e.folders.Data, "docker"),
	} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("prepare the container engine: %w", err)
		}
	}
	settings, err := json.Marshal(dockerdSettings(e.policy))
	if err != nil {
		return fmt.Errorf("prepare the container engine: %w", err)
	}
	if err := os.WriteFile(e.folders.dockerdConfig(), settings, 0o444); err != nil {
		return fmt.Errorf("prepare the container engine: %w", err)
	}
	if err := e.openGate(); err != nil {
		return err
	}
	return e.dockerd.start()
}

// openGate begins to answer docker compose.
func (e *Engine) openGate() error {
	ctx, cancel := context.WithCancel(context.Background()) // until Stop
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", e.folders.gateSocket())
	if err != nil {
		cancel()
		return fmt.Errorf("prepare the container engine: %w", err)
	}
	e.shut = cancel
	go func() {
		if err := gate.New(e.folders.Socket(), e.policy).Serve(ctx, l); err != nil {
			e.note(err.Error())
		}
	}()
	return nil
}

// poll is how often a daemon is looked at that does not answer yet.
const poll = 50 * time.Millisecond

// Listening waits until dockerd takes connections, which it does long before
// it answers the first.
func (e *Engine) Listening(ctx context.Context) error {
	for {
		if _, err := os.Stat(e.folders.Socket()); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the container engine does not listen: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
}

// maxDeaths is how often dockerd may die before the first answer until the
// engine is given up.
const maxDeaths = 3

// Ready waits until dockerd answers, or keeps dying.
func (e *Engine) Ready(ctx context.Context) error {
	for {
		// dockerd makes its socket early and answers late: one question that
		// waits costs less than many that do not.
		_, err := os.Stat(e.folders.Socket())
		if err == nil {
			if err = e.docker.ping(ctx); err == nil {
				return nil
			}
		}
		if e.dockerd.deaths() >= maxDeaths {
			return fmt.Errorf("dockerd does not start: %s", e.dockerd.log.last())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the container engine does not answer: %w; dockerd: %s", err, e.dockerd.log.last())
		case <-time.After(poll):
		}
	}
}

// Restarted delivers a value after dockerd was started again: its containers
// were lost, and the workload must be brought up anew.
func (e *Engine) Restarted() <-chan struct{} { return e.restarted }

func (e *Engine) workloadLost() {
	select {
	case e.restarted <- struct{}{}:
	default:
	}
}

// Stop stops dockerd, which stops what containers are left.
func (e *Engine) Stop(ctx context.Context) error {
	if e.shut != nil {
		defer e.shut()
	}
	return e.dockerd.end(ctx)
}
