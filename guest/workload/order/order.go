// Package order is what guestd asks of the process that runs the workload, and
// how it has that process. The other side is package workload, a part of
// cmd/guest-service. The process is root's, since it drives the container engine,
// but it is given neither the TEE's device nor a key of the disk nor the session
// with the key manager, and a fault in it is none of the machine's first process:
// it is started again, and brings the workload up anew.
package order

import (
	"slices"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
)

// Part is the part of guest-service that answers, at Socket.
const (
	Part   = "workload"
	Socket = ipc.Folder + "/workload.sock"
)

// The questions, as a boot puts them.
const (
	Check    = "check"    // is the compose file one that the measured config allows?
	Prepare  = "prepare"  // lay out all that the workload needs (Work); nothing runs yet
	Engine   = "engine"   // start the container engine, within the workload's bounds
	Up       = "up"       // bring the compose file up, and keep it up: a remark for people
	Tell     = "tell"     // what is new since (Seen): News
	Services = "services" // names of the containers
	Logs     = "logs"     // lines of their logs (LogQuery): []Line
	Down     = "down"     // take the compose file down within a Patience, for good
	Stop     = "stop"     // stop the container engine within a Patience
)

// Words for the state of a workload, as the attestation service shows them.
const (
	Starting = "starting"
	Running  = "running"
	Degraded = "degraded" // something failed; see the console, or the owner's logs
	Stopped  = "stopped"
)

// Work is what the process learns when there are keys and a disk. What is
// measured it has read itself.
type Work struct {
	Data      string // folder on the encrypted disk
	Run       string // folder on a tmpfs
	Secrets   string // folder on a tmpfs for the files that are the workload's secrets
	Uplink    string // the machine's network interface
	Resolvers string // file that names the network's name servers
	GPUs      bool   // the machine has GPUs that proved themselves

	Sockets     map[string]string // of the machine's API, by service
	Environment Secret            // that the owner sealed: vm.Environment.Encode; none: empty
	Registry    Secret            // auths of a Docker config that the owner sealed; none: empty
}

// Secret is what an owner sealed.
type Secret = ipc.Secret

// Seen is the version of the news that guestd has.
type Seen struct {
	Version uint64
	Wait    bool // until there is something new, or a minute has passed
}

// News is what becomes of the workload.
type News struct {
	Version    uint64
	Notes      []Note // for the console, newer than what was seen
	Workload   string // one of the words above
	Containers []Container
}

// Note is one line for people.
type Note struct {
	Version uint64
	Text    string
}

// Container is what a person wants to know of a container.
type Container struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	State    string `json:"state"`               // Docker's word: running, exited …
	Health   string `json:"health,omitempty"`    // healthy, unhealthy or starting; empty: nothing checks it
	ExitCode *int   `json:"exit_code,omitempty"` // of one that has ended
}

// LogQuery asks for the last lines of the log of one container, of each where
// there is no name, that were written after a moment.
type LogQuery struct {
	Container string
	Lines     int
	Since     time.Time
}

// Line is one line of a log.
type Line struct {
	Time   time.Time // zero: the rest of the line before
	Source string    // name of the container
	Text   []byte    // whatever the container wrote
}

// size is what a line takes of a message, in bytes, at most.
func (l Line) size() int { return len(l.Text)/3*4 + len(l.Source) + 100 }

// Fit returns the last of lines, which are in the order of time, that fit into a
// message.
func Fit(lines []Line) []Line {
	left := ipc.MaxMessage - 1<<10
	for i := len(lines) - 1; i >= 0; i-- {
		if left -= lines[i].size(); left < 0 {
			return lines[i+1:]
		}
	}
	return lines
}

// Sort puts lines of several logs in the order of time. The rest of a long line
// gets its time and stays where it is.
func Sort(lines []Line) {
	for i := 1; i < len(lines); i++ {
		if lines[i].Time.IsZero() {
			lines[i].Time = lines[i-1].Time
		}
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
}

// Patience bounds a stop.
type Patience struct{ Left time.Duration }
