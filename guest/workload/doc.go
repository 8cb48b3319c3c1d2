// Package workload runs the containers of a machine: dockerd, with
// everything it stores on the encrypted disk, and the measured
// compose file by docker compose. It keeps dockerd alive, tells what
// becomes of the containers, and stops all of it in order.
//
// Docker is used as it is: its own rules of nf_tables, its bridge networks, its
// restart policies. What differs from a common host is written down in
// daemonArguments, with the reason.
package workload

import "path/filepath"

// Programs of the image.
const (
	dockerd = "/usr/sbin/dockerd"
	crun    = "/usr/bin/crun"
	// The plugin runs by itself: going through the docker command would start
	// three processes for one, a second of each under emulation.
	dockerCompose = "/usr/libexec/docker/cli-plugins/docker-compose"
)

// searchPath is the environment variable of everything that is started here.
const searchPath = "PATH=/usr/sbin:/usr/bin"

// Folders says where the engine keeps what.
type Folders struct {
	Data string // on the encrypted disk: images, containers, volumes
	Run  string // tmpfs: sockets, pid files, logs
}

// Socket is where dockerd listens.
func (f Folders) Socket() string { return filepath.Join(f.Run, "docker.sock") }

// gateSocket is where docker compose talks to dockerd.
func (f Folders) gateSocket() string { return filepath.Join(f.Run, "docker-gate.sock") }

func (f Folders) dockerConfig() string { return filepath.Join(f.Run, "docker-config") }

func (f Folders) dockerdConfig() string { return filepath.Join(f.Run, "docker", "daemon.json") }
