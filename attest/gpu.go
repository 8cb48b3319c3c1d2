package attest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/vm"
)

// withGPUs adds to the verdict on a CPU, which is genuine already, what the
// evidence of NVIDIA devices proves. Evidence that came along is always
// checked, whether or not the policy asks for devices.
func (m *memory) withGPUs(v vm.Verdict, ev *vm.GPUEvidence, o Options) (vm.Verdict, error) {
	if err := m.verifyGPU(ev, &v, o); err != nil {
		return vm.Verdict{}, err
	}
	return v, nil
}

func (m *memory) verifyGPU(ev *vm.GPUEvidence, v *vm.Verdict, o Options) error {
	policy := o.Policy.GPU
	if ev == nil {
		return policy.count(nil)
	}
	// That the very machine which is quoted asked its devices.
	if err := checkGPUNonce(ev.Nonce, v.ReportData); err != nil {
		return err
	}
	// What NVIDIA's service says, where the policy trusts it.
	said, err := policy.openToken(ev, o)
	if err != nil {
		return err
	}
	// What the devices say, and whether NVIDIA released that.
	options := nvidia.Options{
		Time: o.Time, Roots: o.Roots,
		Unchecked: policy.Unchecked || said != nil, Unmeasured: policy.Unmeasured || said != nil,
		Hold: policy.Hold, Stale: o.Policy.StaleCollateral, Unlinked: policy.Unlinked,
	}
	if m != nil {
		options.Memory = &m.signatures
	}
	result, err := nvidia.Verify(ev, options)
	if err != nil {
		return err
	}
	for _, d := range result.Devices {
		if said != nil {
			if err := said.VouchesFor(d.Serial, d.Facts); err != nil {
				return err
			}
			d.Facts.VouchedBy = said.Issuer
		}
		d.Facts.Anchor = anchor(d.Root)
		v.GPUs = append(v.GPUs, d.Facts)
	}
	if said != nil {
		v.ValidUntil = earlier(v.ValidUntil, said.Until)
	}
	v.ValidUntil = earlier(v.ValidUntil, result.Until)
	return policy.count(v.GPUs)
}

// checkGPUNonce refuses a nonce that the CPU's report data does not stand for:
// either the machine chose the nonce and put it into the second half of its
// report data, as existing SecretVM images do, or the nonce is the digest of
// all report data (docs/decisions/0006-gpu-nonce.md).
func checkGPUNonce(nonce, reportData []byte) error {
	if len(reportData) != 64 {
		return vm.Refuse(vm.CodeReportData, "report data has %d bytes, want 64", len(reportData))
	}
	derived := vm.GPUNonce([64]byte(reportData))
	if inHalf := bytes.Equal(nonce, reportData[32:]) && !bytes.Equal(nonce, make([]byte, 32)); inHalf || bytes.Equal(nonce, derived[:]) {
		return nil
	}
	return vm.Refuse(vm.CodeReportData, "the GPU evidence does not go with this machine's quote").
		On("GPU nonce", fmt.Sprintf("%x", nonce[:min(len(nonce), 32)]), fmt.Sprintf("%x, or %x", reportData[32:], derived)).
		Try("the machine must ask its GPUs with the nonce that its quote binds; evidence of another machine, or of another moment, does not fit")
}

// count refuses fewer devices, or other kinds, than the policy asks for.
func (p GPUPolicy) count(devices []vm.GPUFacts) error {
	found := map[string]int{}
	for _, d := range devices {
		found[d.Kind]++
		if len(p.Architectures) > 0 && !slices.ContainsFunc(p.Architectures, func(a string) bool { return strings.EqualFold(a, d.Architecture) }) {
			return vm.Refuse(vm.CodeGPU, "the policy does not accept a %s of this architecture", d.Kind).
				On("architecture", d.Architecture, strings.Join(p.Architectures, " or "))
		}
		if len(p.Hardware) > 0 && !slices.ContainsFunc(p.Hardware, func(id string) bool { return strings.EqualFold(id, d.HardwareID) }) {
			return vm.Refuse(vm.CodeGPU, "the policy does not list this %s", d.Kind).
				On("hardware id", d.HardwareID, strings.Join(p.Hardware, " or "))
		}
	}
	for _, want := range []struct {
		kind string
		n    int
	}{{nvidia.KindGPU, p.GPUs}, {nvidia.KindSwitch, p.Switches}} {
		if n := found[want.kind]; n < want.n {
			return vm.Refuse(vm.CodeGPU, "fewer NVIDIA devices proved themselves than the policy asks for").
				On("devices of kind "+want.kind, fmt.Sprint(n), fmt.Sprintf("at least %d", want.n)).
				Try("the evidence must carry the report of each device")
		}
	}
	return nil
}

func isNVIDIA(root *x509.Certificate) bool {
	return bytes.Equal(root.Raw, nvidia.DeviceRoot().Raw) || bytes.Equal(root.Raw, nvidia.RIMRoot().Raw)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// signatures remembers those of NVIDIA's certificates, reference documents and
// revocation answers.
type signatures struct{ store[struct{}] }

// Known and Learn make it a memory of package attest/nvidia/pki.
func (s *signatures) Known(signature vm.Hash) bool {
	_, _, ok := s.get(signature, anyTime)
	return ok
}

// Learn adds a signature that was found to hold.
func (s *signatures) Learn(signature vm.Hash) { s.put(signature, struct{}{}, always) }
