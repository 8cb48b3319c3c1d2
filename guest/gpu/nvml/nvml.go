// Package nvml binds the few functions of NVIDIA's management library
// (libnvidia-ml.so.1) that confidential computing needs, by dlopen: this
// repository compiles no C. Names, constants and layouts are those of nvml.h of
// CUDA 12.4.
package nvml

import (
	"bytes"
	"fmt"

	"github.com/ebitengine/purego"
)

// Library is the library, initialised. It keeps the devices open, so that the
// driver keeps their sessions.
type Library struct {
	init         func() int32
	errorString  func(int32) string
	driver       func(*byte, uint32) int32
	count        func(*uint32) int32
	handle       func(uint32, *device) int32
	uuid         func(device, *byte, uint32) int32
	minor        func(device, *uint32) int32
	architecture func(device, *uint32) int32
	persistence  func(device, uint32) int32
	state        func(*State) int32
	certificate  func(device, *certificates) int32
	report       func(device, *attestation) int32
	ready        func(*uint32) int32
	setReady     func(uint32) int32
}

// device is nvmlDevice_t, a pointer of the library's own.
type device uintptr

// State is nvmlConfComputeSystemState_t.
type State struct {
	Environment uint32
	Feature     uint32
	DevTools    uint32
}

// Values of State.
const (
	EnvironmentProduction = 2
	FeatureEnabled        = 1
	DevToolsOff           = 0
)

// certificates is nvmlConfComputeGpuCertificate_t.
type certificates struct {
	_               uint32 // size of the chain that is not for attestation
	attestationSize uint32
	_               [0x1000]byte
	attestation     [0x1400]byte
}

// attestation is nvmlConfComputeGpuAttestationReport_t.
type attestation struct {
	_      uint32 // whether there is a report of the CEC
	size   uint32
	_      uint32 // size of that report
	nonce  [32]byte
	report [0x2000]byte
	_      [0x1000]byte
}

// architectures are NVML_DEVICE_ARCH_* of chips that can attest, in the words of
// NVIDIA's attestation services.
var architectures = map[uint32]string{9: "HOPPER", 10: "BLACKWELL"}

// Open loads and initialises the library of that name, which finds its driver.
func Open(name string) (*Library, error) {
	handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	l := new(Library)
	for _, f := range []struct {
		name string
		to   any
	}{
		{"nvmlInit_v2", &l.init},
		{"nvmlErrorString", &l.errorString},
		{"nvmlSystemGetDriverVersion", &l.driver},
		{"nvmlDeviceGetCount_v2", &l.count},
		{"nvmlDeviceGetHandleByIndex_v2", &l.handle},
		{"nvmlDeviceGetUUID", &l.uuid},
		{"nvmlDeviceGetMinorNumber", &l.minor},
		{"nvmlDeviceGetArchitecture", &l.architecture},
		{"nvmlDeviceSetPersistenceMode", &l.persistence},
		{"nvmlSystemGetConfComputeState", &l.state},
		{"nvmlDeviceGetConfComputeGpuCertificate", &l.certificate},
		{"nvmlDeviceGetConfComputeGpuAttestationReport", &l.report},
		{"nvmlSystemGetConfComputeGpusReadyState", &l.ready},
		{"nvmlSystemSetConfComputeGpusReadyState", &l.setReady},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w: the driver is too old for confidential computing", name, err)
		}
		purego.RegisterFunc(f.to, symbol)
	}
	return l, l.check("initialise NVML", l.init())
}

// check makes an error of nvmlReturn_t.
func (l *Library) check(what string, code int32) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s (NVML %d)", what, l.errorString(code), code)
}

// Driver returns the driver's version: 550.163.01.
func (l *Library) Driver() (string, error) {
	var b [80]byte
	err := l.check("ask for the driver's version", l.driver(&b[0], uint32(len(b))))
	return text(b[:]), err
}

// State returns the mode of confidential computing, which all devices share.
func (l *Library) State() (s State, err error) {
	return s, l.check("ask for the mode of confidential computing", l.state(&s))
}

// Device is one GPU.
type Device struct {
	UUID         string // GPU-…
	Minor        uint32 // of /dev/nvidia…
	Architecture string // HOPPER …; empty: one that is not known here

	library *Library
	handle  device
}

// Devices lists the GPUs, and has the driver keep them initialised.
func (l *Library) Devices() (all []Device, err error) {
	var n uint32
	if err := l.check("count GPUs", l.count(&n)); err != nil {
		return nil, err
	}
	for i := range n {
		d := Device{library: l}
		var uuid [96]byte
		var architecture uint32
		for _, ask := range []struct {
			what string
			code func() int32
		}{
			{"open it", func() int32 { return l.handle(i, &d.handle) }},
			{"ask for its id", func() int32 { return l.uuid(d.handle, &uuid[0], uint32(len(uuid))) }},
			{"ask for its device", func() int32 { return l.minor(d.handle, &d.Minor) }},
			{"ask for its architecture", func() int32 { return l.architecture(d.handle, &architecture) }},
		} {
			if err := l.check(ask.what, ask.code()); err != nil {
				return nil, fmt.Errorf("GPU %d: %w", i, err)
			}
		}
		_ = l.persistence(d.handle, 1) // this process keeps them open all the same
		d.UUID, d.Architecture = text(uuid[:]), architectures[architecture]
		all = append(all, d)
	}
	return all, nil
}

// Certificates returns the chain of the key that signs reports, in PEM, the
// device's own certificate first.
func (d Device) Certificates() ([]byte, error) {
	c := new(certificates)
	if err := d.library.check("ask for its certificates", d.library.certificate(d.handle, c)); err != nil {
		return nil, err
	}
	if int64(c.attestationSize) > int64(len(c.attestation)) {
		return nil, fmt.Errorf("ask for its certificates: they have %d bytes, want at most %d", c.attestationSize, len(c.attestation))
	}
	return bytes.TrimRight(bytes.Clone(c.attestation[:c.attestationSize]), "\x00"), nil
}

// Report returns what the device measures, signed over a nonce: an SPDM request
// and its response.
func (d Device) Report(nonce [32]byte) ([]byte, error) {
	r := &attestation{nonce: nonce}
	if err := d.library.check("ask for its report", d.library.report(d.handle, r)); err != nil {
		return nil, err
	}
	if int64(r.size) > int64(len(r.report)) {
		return nil, fmt.Errorf("ask for its report: it has %d bytes, want at most %d", r.size, len(r.report))
	}
	return bytes.Clone(r.report[:r.size]), nil
}

// Ready reports whether the devices take work.
func (l *Library) Ready() (bool, error) {
	var accepting uint32
	err := l.check("ask whether the GPUs take work", l.ready(&accepting))
	return accepting != 0, err
}

// SetReady lets the devices take work.
func (l *Library) SetReady() error {
	return l.check("let the GPUs take work", l.setReady(1))
}

// text is a string of C.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
