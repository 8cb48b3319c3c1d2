// Package bringup is the process that knows the machine's GPUs: it loads their
// drivers, has every device prove itself, and lets them take work only after
// that and after it was told to. Package gpu has the questions that it answers.
//
// What can be checked without anybody else is checked here, before any evidence
// leaves the machine: that all NVIDIA devices on the bus are in it, that
// confidential computing is on and its development mode off, and that genuine
// devices answered this very nonce. Whether their firmware is what NVIDIA
// released, and no certificate revoked, takes documents of the day and a clock
// that the host does not set: the key manager judges that.
package bringup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// System is the machine around the devices.
type System struct {
	Load    func() error                                      // the drivers
	Bus     func() (gpus int, err error)                      // counts NVIDIA's GPUs, whatever drives them
	Nodes   func(gpus int) error                              // makes the files of the devices
	Library func() (*nvml.Library, error)                     // opens NVML
	Publish func(version string, devices []nvml.Device) error // describes the devices to the container engine
	Seal    func() error                                      // has no driver take a device that comes later
	Now     func() time.Time
}

// Server answers guestd, one question after the other.
type Server struct {
	system System

	mu      sync.Mutex
	library *nvml.Library
	driver  string
	devices []nvml.Device
	proven  []string // hardware ids of the devices whose evidence was shown
}

// NewServer makes a server that has not touched anything yet.
func NewServer(system System) *Server { return &Server{system: system} }

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := ipc.NewServer(nil)
	ipc.Handle(server, gpu.Open, func(context.Context, gpu.Nothing) (summary string, err error) {
		err = s.turn(gpu.Open, false, func() error { summary, err = s.open(); return err })
		return summary, err
	})
	ipc.Handle(server, gpu.Evidence, func(_ context.Context, nonce vm.Hash) (ev *vm.GPUEvidence, err error) {
		err = s.turn(gpu.Evidence, true, func() error { ev, err = s.evidence(nonce); return err })
		return ev, err
	})
	ipc.Handle(server, gpu.Ready, func(context.Context, gpu.Nothing) (gpu.Nothing, error) {
		return gpu.Nothing{}, s.turn(gpu.Ready, true, s.ready)
	})
	return server.Serve(ctx, l)
}

// turn answers a question that is asked before the devices are open, or after.
func (s *Server) turn(question string, opened bool, answer func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if opened != (s.library != nil) {
		return fmt.Errorf("there is no question %s now", question)
	}
	return answer()
}

// open brings all devices up, in order, and says what they are.
func (s *Server) open() (string, error) {
	n, err := s.system.Bus()
	switch {
	case err != nil:
		return "", fmt.Errorf("look for GPUs: %w", err)
	case n == 0 || n > vm.MaxGPUs:
		return "", fmt.Errorf("the machine has %d NVIDIA GPUs, want 1 to %d: the host has to give it some (secretvm up --gpu)", n, vm.MaxGPUs)
	}
	if err := s.system.Load(); err != nil {
		return "", fmt.Errorf("load the GPUs' drivers: %w", err)
	}
	if err := s.system.Nodes(n); err != nil {
		return "", fmt.Errorf("make the devices' files: %w", err)
	}
	if s.library, err = s.system.Library(); err != nil {
		return "", err
	}
	if s.driver, err = s.library.Driver(); err != nil {
		return "", err
	}
	if s.devices, err = s.library.Devices(); err != nil {
		return "", err
	}
	if len(s.devices) != n {
		return "", fmt.Errorf("%d of the machine's %d GPUs work: one that does not could not prove itself", len(s.devices), n)
	}
	if err := s.confidential(); err != nil {
		return "", err
	}
	if ready, err := s.library.Ready(); err != nil || ready {
		return "", errors.Join(err, errors.New("the GPUs take work although nobody has judged them"))
	}
	return fmt.Sprintf("%d GPUs, %s, driver %s", n, s.devices[0].Architecture, s.driver), nil
}

// confidential refuses every mode but the one in which a device keeps its
// memory from the host, who chooses the mode.
func (s *Server) confidential() error {
	const hint = "the host chooses the mode, and has to reset the GPU after a change"
	state, err := s.library.State()
	switch {
	case err != nil:
		return err
	case state.Feature != nvml.FeatureEnabled:
		return fmt.Errorf("confidential computing is off on the machine's GPUs: %s", hint)
	case state.DevTools != nvml.DevToolsOff:
		return fmt.Errorf("the machine's GPUs are in the development mode of confidential computing, which protects nothing: %s", hint)
	case state.Environment != nvml.EnvironmentProduction:
		return fmt.Errorf("confidential computing of the machine's GPUs is of environment %d, want %d, production", state.Environment, nvml.EnvironmentProduction)
	}
	return nil
}

// evidence asks all devices and looks at what they say before anybody else does.
func (s *Server) evidence(nonce vm.Hash) (*vm.GPUEvidence, error) {
	ev := &vm.GPUEvidence{Nonce: nonce[:]}
	for i, d := range s.devices {
		chain, err := d.Certificates()
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
		report, err := d.Report(nonce)
		if err != nil {
			return nil, fmt.Errorf("GPU %d: %w", i, err)
		}
		ev.Devices = append(ev.Devices, vm.GPUDevice{Kind: nvidia.KindGPU, Architecture: d.Architecture, Evidence: report, CertChain: chain})
	}
	result, err := nvidia.Verify(ev, nvidia.Options{Time: s.system.Now(), Unchecked: true, Unmeasured: true})
	if err != nil {
		return nil, fmt.Errorf("the evidence of the machine's own GPUs: %w", err)
	}
	var ids []string
	for _, d := range result.Devices {
		ids = append(ids, d.Facts.HardwareID)
	}
	slices.Sort(ids)
	if s.proven != nil && !slices.Equal(ids, s.proven) {
		return nil, fmt.Errorf("the machine's GPUs are not those of this boot any more: %v, want %v", ids, s.proven)
	}
	s.proven = ids
	return ev, nil
}

// ready opens the devices to work.
func (s *Server) ready() error {
	if s.proven == nil {
		return errors.New("the GPUs have not shown any evidence: they take no work before")
	}
	if err := s.confidential(); err != nil {
		return err
	}
	if err := s.system.Seal(); err != nil {
		return fmt.Errorf("keep drivers from devices that come later: %w", err)
	}
	if err := s.library.SetReady(); err != nil {
		return err
	}
	if ready, err := s.library.Ready(); err != nil || !ready {
		return errors.Join(err, errors.New("the GPUs take no work although they were told to"))
	}
	if err := s.system.Publish(s.driver, s.devices); err != nil {
		return fmt.Errorf("describe the GPUs to the container engine: %w", err)
	}
	return nil
}
