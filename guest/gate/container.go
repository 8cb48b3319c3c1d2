package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/compose"
)

// serviceLabel is the label by which compose says which service a container is of.
const serviceLabel = "com.docker.compose.service"

// host is what is looked at of HostConfig (Docker Engine API, ContainerCreate).
type host struct {
	Privileged        bool
	CapAdd            []string
	Devices           []struct{ PathOnHost string }
	DeviceCgroupRules []string
	PidMode           string
	IpcMode           string
	NetworkMode       string
	CgroupParent      string
	SecurityOpt       []string
	MaskedPaths       *[]string
	ReadonlyPaths     *[]string
	OomScoreAdj       int
	CapDrop           []string
	VolumesFrom       []string
	Runtime           string
	DeviceRequests    []deviceRequest
	Annotations       map[string]string
	Ulimits           []struct{ Name string }
	Binds             []string
	Mounts            []map[string]any
	LogConfig         struct {
		Type   string
		Config map[string]string
	}
}

// fields is a JSON object of which only some members are looked at.
type fields map[string]json.RawMessage

// UnmarshalJSON refuses spellings of names that dockerd, whose decoder does not
// tell upper from lower case, would read as others.
func (f *fields) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, (*map[string]json.RawMessage)(f)); err != nil {
		return err
	}
	for name := range *f {
		for _, known := range names {
			if strings.EqualFold(name, known) && name != known {
				return fmt.Errorf("%s is spelt %q", known, name)
			}
		}
	}
	return nil
}

// names are those of host, and of what holds them.
var names = []string{
	"Labels", "HostConfig", "Privileged", "CapAdd", "Devices", "DeviceCgroupRules", "PidMode", "IpcMode", "NetworkMode", "CgroupParent",
	"VolumesFrom", "Runtime", "Annotations", "Ulimits", "Name", "SecurityOpt", "MaskedPaths", "ReadonlyPaths", "OomScoreAdj", "CapDrop", "Binds", "Mounts", "LogConfig", "Driver", "DriverOpts", "DeviceRequests",
}

func (f fields) set(name string, v any) error {
	b, err := json.Marshal(v)
	f[name] = b
	return err
}

// container checks a container that is to be created, and rewrites what it names
// of the host.
func (p Policy) container(body []byte) ([]byte, error) {
	var request, config fields
	var labels map[string]string
	var h host
	err := json.Unmarshal(body, &request)
	if err == nil && request["Labels"] != nil {
		err = json.Unmarshal(request["Labels"], &labels)
	}
	if err == nil && request["HostConfig"] != nil {
		err = errors.Join(json.Unmarshal(request["HostConfig"], &config), json.Unmarshal(request["HostConfig"], &h))
	}
	if err != nil {
		return nil, fmt.Errorf("read the container: %w", err)
	}
	if config == nil {
		config = fields{}
	}
	service := labels[serviceLabel]
	if err := errors.Join(p.powers(service, h), p.mounts(service, h, config), p.bounds(service, h, config), p.gpus(h, config)); err != nil {
		return nil, fmt.Errorf("service %s: %w", service, err)
	}
	if err := request.set("HostConfig", config); err != nil {
		return nil, err
	}
	return json.Marshal(request)
}

// powers refuses what reaches out of a container (W2), and what would undo the
// limits that hold all containers.
func (p Policy) powers(service string, h host) error {
	if h.CgroupParent != "" {
		return errors.New("it has a cgroup_parent, which would take it out of the workload's limits")
	}
	if h.NetworkMode == "host" && p.Restricted && !slices.Contains(p.Privileged, service) {
		return errors.New("it is in the machine's own network, where egress cannot be held to a list")
	}
	if slices.Contains(p.Privileged, service) {
		return nil
	}
	var errs []error
	no := func(wrong bool, what string) {
		if wrong {
			errs = append(errs, errors.New(what))
		}
	}
	no(h.Privileged, "it is privileged")
	no(h.PidMode == "host", "it shares the machine's processes")
	no(h.IpcMode == "host", "it shares the machine's shared memory")
	no(len(h.DeviceCgroupRules) > 0, "it has device rules")
	no(h.MaskedPaths != nil || h.ReadonlyPaths != nil, "it sees what is hidden of /proc and /sys")
	for _, o := range h.SecurityOpt {
		no(strings.HasPrefix(o, "systempaths"), "it has "+o)
	}
	no(!slices.Contains([]string{"", "crun", "runc", "io.containerd.runc.v2", runtimeNVIDIA}, h.Runtime), "it has the runtime "+h.Runtime)
	for name := range h.Annotations {
		no(strings.HasPrefix(name, "run.oci."), "it has the annotation "+name+", which the runtime obeys")
	}
	for _, u := range h.Ulimits {
		no(strings.EqualFold(u.Name, "rtprio"), "it would run before the machine's own programs (ulimit rtprio)")
	}
	if len(p.Privileged) > 0 { // what those have is not to be had by joining them
		no(len(h.VolumesFrom) > 0, "it has the volumes of another container")
		for _, mode := range []string{h.PidMode, h.IpcMode, h.NetworkMode} {
			no(strings.HasPrefix(mode, "container:"), "it joins another container")
		}
	}
	for _, c := range h.CapAdd {
		errs = append(errs, compose.CheckCapability(c))
		no(h.NetworkMode == "host" && strings.Contains(strings.ToUpper(c), "NET_"), "it is in the machine's own network and adds the capability "+c)
	}
	for _, d := range h.Devices {
		errs = append(errs, compose.CheckDevice(d.PathOnHost))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w; x-secretvm.privileged does not name it", err)
	}
	return nil
}

// Bounds of a log that has none: as dockerd has them for logs of its own choice.
const (
	logSize  = "10m"
	logFiles = "3"
)

// bounds keeps one container from starving the others.
func (p Policy) bounds(service string, h host, config fields) error {
	var errs []error
	// Databases ask for it to place their memory; with it a container could also
	// run before the machine's own programs.
	few := slices.DeleteFunc(slices.Clone(h.CapAdd), func(c string) bool { return strings.TrimPrefix(strings.ToUpper(c), "CAP_") == "SYS_NICE" })
	if len(few) < len(h.CapAdd) && !slices.Contains(p.Privileged, service) {
		errs = append(errs, config.set("CapAdd", few))
	}
	if h.LogConfig.Type == "json-file" && h.LogConfig.Config["max-size"] == "" {
		bounded := map[string]string{"max-file": logFiles}
		for k, v := range h.LogConfig.Config {
			bounded[k] = v
		}
		bounded["max-size"] = logSize
		errs = append(errs, config.set("LogConfig", map[string]any{"Type": h.LogConfig.Type, "Config": bounded}))
	}
	if h.OomScoreAdj < 0 { // it would outlive its neighbours
		errs = append(errs, config.set("OomScoreAdj", 0))
	}
	if !slices.Contains(p.Privileged, service) {
		// Docker lets every container make and open the machine's console, which is
		// the host's.
		drop := append(slices.Clone(h.CapDrop), "MKNOD")
		if h.NetworkMode == "host" {
			// Raw sockets there would go past the rules that block metadata addresses.
			drop = append(drop, "NET_RAW")
		}
		errs = append(errs, config.set("CapDrop", drop))
	}
	return errors.Join(errs...)
}

// exec checks a command that is to be run in a container.
func (p Policy) exec(body []byte) ([]byte, error) {
	var request struct{ Privileged bool }
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("read the command: %w", err)
	}
	if request.Privileged {
		return nil, errors.New("a command in a container would be privileged")
	}
	return body, nil
}

// network checks a network that is to be created: one that lets containers out
// beside the machine's own rules is none.
func (p Policy) network(body []byte) ([]byte, error) {
	var request struct{ Driver string }
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("read the network: %w", err)
	}
	if !slices.Contains([]string{"", "default", "bridge", "host", "none", "null"}, request.Driver) {
		return nil, fmt.Errorf("a network has the driver %q: there is only bridge", request.Driver)
	}
	return body, nil
}
