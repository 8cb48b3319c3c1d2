package decision

import (
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/vm"
)

// withGPU is a request of a machine whose config demands proof of its GPU, and
// the GPU's evidence over nonce.
func withGPU(t *testing.T, change func(*vm.GPUEvidence)) (Request, Chain) {
	t.Helper()
	now := time.Now()
	pki, err := nvidiatest.New(now)
	must(t, err)
	device, err := pki.Device("gpu", "GH100")
	must(t, err)
	return genuineWith(t, func(cfg *vm.Config) { cfg.GPU = vm.GPUAttest }, func(r *Request, c *Chain) {
		nonce := vm.GPUNonce(r.reportData(c.ID))
		shown, err := device.Evidence(nonce[:], nil)
		must(t, err)
		driver, err := pki.DriverRIM(nvidiatest.Golden(7, 21))
		must(t, err)
		vbios, err := pki.VBIOSRIM(nvidiatest.Golden(1, 12))
		must(t, err)
		answers, err := pki.Answers(device)
		must(t, err)
		ev := &vm.GPUEvidence{Nonce: nonce[:], Devices: []vm.GPUDevice{shown}, RIMs: [][]byte{driver, vbios}, OCSP: answers}
		if change != nil {
			change(ev)
		}
		if len(ev.Devices) > 0 {
			r.Evidence.GPU = ev
		}
		c.Verify.Roots = append(c.Verify.Roots, pki.Roots()...)
	})
}

func TestDecideGrantsWithGenuineGPUs(t *testing.T) {
	out, refusal, err := Decide(withGPU(t, nil))
	if err != nil || refusal != nil || len(out.Verdict.GPUs) != 1 || !out.Verdict.GPUs[0].Measured || !out.Verdict.GPUs[0].Unrevoked {
		t.Fatalf("outcome %+v, %v, %v", out, refusal, err)
	}
}

// G6: a machine whose config demands proof gets no keys without it, whatever its
// own programs say.
func TestG6_NoKeysWithoutProof(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*vm.GPUEvidence)
		want   vm.Code
	}{
		{"no evidence", func(ev *vm.GPUEvidence) { ev.Devices = nil }, vm.CodeGPU},
		{"of another request", func(ev *vm.GPUEvidence) { ev.Nonce[0] ^= 1 }, vm.CodeReportData},
		{"without reference documents", func(ev *vm.GPUEvidence) { ev.RIMs = nil }, vm.CodeCollateral},
		{"without answers about revocation", func(ev *vm.GPUEvidence) { ev.OCSP = nil }, vm.CodeCollateral},
		{"one device for two", func(ev *vm.GPUEvidence) { ev.Devices = append(ev.Devices, ev.Devices[0]) }, vm.CodeGPU},
		{"of another kind", func(ev *vm.GPUEvidence) { ev.Devices[0].Kind = "switch" }, vm.CodeGPU},
	} {
		_, refusal, err := Decide(withGPU(t, tt.change))
		must(t, err)
		if refusal == nil || refusal.Code != tt.want {
			t.Errorf("%s: refusal %v, want %s", tt.name, refusal, tt.want)
		}
	}
}
