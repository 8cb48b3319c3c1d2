package token

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

// NVIDIA is the issuer of NVIDIA's own service.
const NVIDIA = "https://nras.attestation.nvidia.com"

const (
	maxSize  = 512 << 10
	maxParts = 2 * vm.MaxGPUs
)

// Options are the verifier's side.
type Options struct {
	Keys   Keys
	Issuer string // wanted
	Nonce  []byte // wanted
	Time   time.Time
}

// Statement is what a service says about the devices of a machine.
type Statement struct {
	Issuer  string
	Until   time.Time
	devices []device
}

// device is what it says about one.
type device struct {
	name       string
	serial     string // ueid: of the attestation key's certificate, decimal
	driver     string
	firmware   string
	dissension error // why it does not vouch for the device, or nil
}

// Open checks a token: the signature, issuer, nonce and times of each
// statement, that the first names the others by digest, and that its overall
// result is good. The form is a JSON list of ["JWT", statement] and an object
// with the statements about devices.
func Open(b []byte, o Options) (*Statement, error) {
	if len(b) > maxSize {
		return nil, vm.Refuse(vm.CodeTooLarge, "token has %d bytes, want at most %d", len(b), maxSize)
	}
	var parts []json.RawMessage
	var overall []string
	var each map[string]string
	err := json.Unmarshal(b, &parts)
	if err == nil && len(parts) == 2 {
		if err = json.Unmarshal(parts[0], &overall); err == nil {
			err = json.Unmarshal(parts[1], &each)
		}
	}
	if err != nil || len(parts) != 2 || len(overall) != 2 || overall[0] != "JWT" {
		return nil, malformed("it is no detached EAT, [[\"JWT\", …], {…}]: %v", err)
	}
	if len(each) == 0 || len(each) > maxParts {
		return nil, malformed("it speaks of %d devices, want 1 to %d", len(each), maxParts)
	}
	check := pki.NewChecker(o.Time)
	whole, err := o.open(check, "the token", overall[1])
	if err != nil {
		return nil, err
	}
	if string(whole.all["x-nvidia-overall-att-result"]) != "true" {
		return nil, vm.Refuse(vm.CodeGPUMeasured, "the service does not vouch for the devices").
			On("x-nvidia-overall-att-result", short(string(whole.all["x-nvidia-overall-att-result"])), "true")
	}
	names := slices.Sorted(maps.Keys(each)) // so that everybody finds the same fault first
	if err := checkDigests(whole, names, each); err != nil {
		return nil, err
	}
	s := &Statement{Issuer: o.Issuer}
	for _, name := range names {
		one, err := o.open(check, fmt.Sprintf("the token's statement about %.20q", name), each[name])
		if err != nil {
			return nil, err
		}
		s.devices = append(s.devices, readDevice(name, one))
	}
	s.Until = check.Until()
	return s, nil
}

// checkDigests refuses statements about devices that are not exactly those
// which the first statement names, as ["DIGEST", ["SHA-256", hex]].
func checkDigests(whole statement, names []string, each map[string]string) error {
	var named map[string][2]json.RawMessage
	if err := json.Unmarshal(whole.all["submods"], &named); err != nil {
		return malformed("its submods cannot be read: %v", err)
	}
	if len(named) != len(each) {
		return vm.Refuse(vm.CodeSignature, "the token names %d statements about devices and carries %d", len(named), len(each))
	}
	for _, name := range names {
		compact := each[name]
		var digest [2]string
		if err := json.Unmarshal(named[name][1], &digest); err != nil || string(named[name][0]) != `"DIGEST"` || digest[0] != "SHA-256" {
			return malformed("it names %.20q by no SHA-256 digest", name)
		}
		sum := sha256.Sum256([]byte(compact))
		if found := hex.EncodeToString(sum[:]); !strings.EqualFold(found, digest[1]) {
			return vm.Refuse(vm.CodeSignature, "the token's statement about %.20q is not the one that it names", name).
				On("SHA-256", found, short(digest[1]))
		}
	}
	return nil
}

// readDevice takes the claims about one device. Dissent is an error only once
// the device is asked for.
func readDevice(name string, s statement) device {
	d := device{name: name, serial: s.text("ueid"), driver: s.text("x-nvidia-gpu-driver-version"), firmware: s.text("x-nvidia-gpu-vbios-version")}
	if d.firmware == "" {
		d.firmware = s.text("x-nvidia-switch-bios-version")
	}
	for _, want := range []struct{ claim, value string }{
		{"measres", `"success"`}, {"secboot", "true"}, {"dbgstat", `"disabled"`},
	} {
		if found := string(s.all[want.claim]); found != want.value {
			d.dissension = dissent(name, want.claim, found, want.value)
		}
	}
	for _, claim := range slices.Sorted(maps.Keys(s.all)) {
		raw := s.all[claim]
		if !strings.HasPrefix(claim, "x-nvidia-") {
			continue
		}
		if string(raw) == "false" {
			d.dissension = dissent(name, claim, "false", "true")
		}
		var chain struct {
			Status *string `json:"x-nvidia-cert-status"`
			OCSP   string  `json:"x-nvidia-cert-ocsp-status"`
		}
		if json.Unmarshal(raw, &chain) == nil && chain.Status != nil && (*chain.Status != "valid" || chain.OCSP != "good") {
			d.dissension = dissent(name, claim, *chain.Status+", "+chain.OCSP, "valid, good")
		}
	}
	return d
}

func dissent(name, claim, found, want string) error {
	return vm.Refuse(vm.CodeGPUMeasured, "the service does not vouch for %.20q", name).On(claim, short(found), want)
}

func (s statement) text(claim string) string {
	var text string
	if json.Unmarshal(s.all[claim], &text) != nil {
		return ""
	}
	return text
}

// VouchesFor refuses unless the service says that the device with that serial
// number (of its attestation key's certificate, decimal), driver and firmware
// measures what it should.
func (s *Statement) VouchesFor(serial string, facts vm.GPUFacts) error {
	for _, d := range s.devices {
		if d.serial != serial {
			continue
		}
		if d.dissension != nil {
			return d.dissension
		}
		if d.driver != facts.Driver || !strings.EqualFold(d.firmware, facts.Firmware) {
			return vm.Refuse(vm.CodeGPUMeasured, "the token's %.20q is about other software than the device's own report", d.name).
				On("driver and firmware", short(d.driver)+", "+short(d.firmware), facts.Driver+", "+facts.Firmware)
		}
		return nil
	}
	return vm.Refuse(vm.CodeGPUMeasured, "the token does not speak of a device that the evidence shows").
		On("ueid", "absent", serial)
}

func nonceText(nonce []byte) string { return hex.EncodeToString(nonce) }

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "token: %s", fmt.Sprintf(format, args...))
}
