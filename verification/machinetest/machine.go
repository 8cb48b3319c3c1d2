// Package machinetest runs, for tests, a machine without its operating system:
// the soft TEE's emulator with the registers of a boot, and the real
// attestation service in front of it on a loopback port. Like httptest, it is
// imported by tests alone.
package machinetest

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// Files that Write makes.
const (
	ComposeName = "docker-compose.yaml"
	FilesName   = "files.tar"
	RootName    = "dev-root.pem"
)

// Spec is what a machine is made of. Tests change it before the boot.
type Spec struct {
	Compose []byte
	Files   []byte // nil: no archive
	Config  vm.Config
	Root    vm.Hash // dm-verity root hash
	Debug   bool    // launched so that its host can debug it

	ConfigID *vm.Register                // launched for this instead of Config; nil: for Config
	Measured func([]vm.Event) []vm.Event // changes what is extended; nil: what a boot extends
}

// Machine has booted: its registers are those of its Spec.
type Machine struct {
	Spec
	Canonical []byte // of the config
	Manifest  vm.Manifest
	Events    []vm.Event
	PKI       *emulator.PKI
	TEE       *emulator.Machine
	Key       attestation.Key // of the attestation service that Serve started last
}

// Boot measures what the spec says, changed by change, into an emulated TEE.
func Boot(t testing.TB, change ...func(*Spec)) *Machine {
	t.Helper()
	m := &Machine{Spec: Spec{
		Compose: []byte("services:\n  web:\n    image: example.invalid/web@sha256:" + strings.Repeat("77", 32) + "\n"),
		Config: vm.Config{
			Version: 1, Service: "svm1owner/guestbook",
			KMS:        vm.KMS{ChainID: "secretvm-test", GroupKey: strings.Repeat("8a", 96)},
			InstanceID: strings.Repeat("ab", 16), TLS: "self", Images: "digest", GPU: "none",
		},
		Root: vm.HashOf([]byte("root file system")),
	}}
	for _, c := range change {
		c(&m.Spec)
	}
	m.measure(t)
	return m
}

func (m *Machine) measure(t testing.TB) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m.Config.ComposeHash = vm.HashOf(m.Compose)
	if m.Files != nil {
		h := vm.HashOf(m.Files)
		m.Config.FilesHash = &h
	}
	var err error
	m.Canonical, err = m.Config.Canonical()
	must(err)
	id, err := m.Config.ConfigID()
	must(err)
	m.Events, err = vm.BootEvents(m.Root, m.Config)
	must(err)
	if m.Measured != nil {
		m.Events = m.Measured(m.Events)
	}
	if m.ConfigID != nil {
		id = *m.ConfigID
	}
	m.PKI, err = emulator.LoadOrCreatePKI(filepath.Join(t.TempDir(), "pki"))
	must(err)
	m.Manifest = Manifest(m.Root)
	p := m.Manifest.Predictions[0]
	m.TEE, err = emulator.New(m.PKI, vm.Measurement{MRTD: p.MRTD, RTMR: [4]vm.Register{p.RTMR0, p.RTMR1, p.RTMR2}, MRConfigID: id})
	must(err)
	if m.Debug {
		m.TEE.Attributes |= 1 // TD attributes, bit 0
	}
	for _, e := range m.Events {
		_, err := m.TEE.Extend(e.Register, e.Digest)
		must(err)
	}
}

// Manifest describes an image that predicts two shapes; machines of this
// package have the first.
func Manifest(root vm.Hash) vm.Manifest {
	file := func(name string) vm.File { return vm.File{Name: name, Size: 1, SHA256: vm.HashOf([]byte(name))} }
	register := func(what string) vm.Register { return sha512.Sum384([]byte(what)) }
	m := vm.Manifest{
		Version: 1, Name: "base", Release: "v0.1.0", Firmware: file("OVMF.fd"), Kernel: file("vmlinuz"),
		Initramfs: file("initramfs.cpio"), Rootfs: file("rootfs.img"), Verity: vm.Verity{RootHash: root, DataBlocks: 1},
		CommandLine: "secretvm.verity=" + root.String(),
	}
	for _, s := range []vm.Shape{vm.DefaultShape, {CPUs: 4, Memory: 8 << 30}} {
		m.Predictions = append(m.Predictions, vm.Prediction{
			TEE: vm.TDX, Shape: s, MRTD: register("firmware"), RTMR0: register("hardware " + string(rune('0'+s.CPUs))),
			RTMR1: register("kernel"), RTMR2: register("command line " + root.String()),
		})
	}
	return m
}

// Roots is the development root that this machine's quotes end in.
func (m *Machine) Roots() []*x509.Certificate { return []*x509.Certificate{m.PKI.Root.Cert} }

// Quote implements attestation.Quoter.
func (m *Machine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return m.TEE.Quote(reportData)
}

// Serve starts the attestation service and returns its URL. Quotes come from
// quoter, or from the machine when it is nil.
func (m *Machine) Serve(t testing.TB, quoter attestation.Quoter) (*attestd.Server, string) {
	t.Helper()
	if quoter == nil {
		quoter = m
	}
	key, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	m.Key = key
	s, err := attestd.New(attestd.Options{
		Quotes: attestation.NewQuotes(quoter, nil, key.SPKI, attestation.Claims(key.SPKI, vm.Soft, m.Events), nil), Key: key, TEE: vm.Soft, Measurement: m.TEE.Read(), Config: m.Canonical, Compose: m.Compose, Events: m.Events,
		Status: func() attestd.Status {
			return attestd.Status{Workload: "running", Steps: []step.Result{{Name: "measure", Took: time.Second}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("attestation service: %v", err)
		}
	})
	return s, "https://" + l.Addr().String()
}

// Write puts the files that a caller of verify would have into dir.
func (m *Machine) Write(t testing.TB, dir string) {
	t.Helper()
	manifest, err := m.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{ComposeName: m.Compose, vm.ManifestName: manifest, RootName: m.PKI.RootPEM()}
	if m.Files != nil {
		files[FilesName] = m.Files
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
