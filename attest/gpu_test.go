package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// gpuBed is a machine with one GPU: a bed, and a development PKI of devices.
type gpuBed struct {
	bed
	nvidia *nvidiatest.PKI
	gpu    *nvidiatest.Device
}

func newGPUBed(t testing.TB) gpuBed {
	t.Helper()
	b := gpuBed{bed: newBed(t)}
	var err error
	if b.nvidia, err = nvidiatest.New(now); err != nil {
		t.Fatal(err)
	}
	if b.gpu, err = b.nvidia.Device(nvidia.KindGPU, "GH100"); err != nil {
		t.Fatal(err)
	}
	b.options.Roots = append(b.options.Roots, b.nvidia.Roots()...)
	return b
}

// shows is sound evidence of the machine and its GPU, which was asked with the
// nonce.
func (b gpuBed) shows(t testing.TB, reportData [64]byte, nonce []byte) vm.Evidence {
	t.Helper()
	ev, err := b.machine.Quote(reportData)
	if err != nil {
		t.Fatal(err)
	}
	device, err := b.gpu.Evidence(nonce, nil)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := b.nvidia.DriverRIM(nvidiatest.Golden(7, 21))
	if err != nil {
		t.Fatal(err)
	}
	vbios, err := b.nvidia.VBIOSRIM(nvidiatest.Golden(1, 12))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := b.nvidia.Answers(b.gpu)
	if err != nil {
		t.Fatal(err)
	}
	ev.GPU = &vm.GPUEvidence{Nonce: nonce, Devices: []vm.GPUDevice{device}, RIMs: [][]byte{driver, vbios}, OCSP: answers}
	return ev
}

// ours is the report data of a machine of ours, with the nonce that goes with it.
func ours() (rd [64]byte, nonce []byte) {
	rd = vm.AttestationReportData(vm.Hash{1}, []byte("nonce"))
	derived := vm.GPUNonce(rd)
	return rd, derived[:]
}

func TestGPU(t *testing.T) {
	b := newGPUBed(t)
	rd, nonce := ours()
	o := b.options
	o.Policy.GPU = GPUPolicy{GPUs: 1, Architectures: []string{"hopper"}}
	v, err := Verify(b.shows(t, rd, nonce), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.GPUs) != 1 || !v.GPUs[0].Measured || !v.GPUs[0].Unrevoked || v.GPUs[0].Model != "GH100" || v.GPUs[0].Anchor.SHA256 != vm.HashOf(b.nvidia.DeviceRoot.Cert.Raw) {
		t.Errorf("GPUs %+v", v.GPUs)
	}
	if end := now.AddDate(0, 0, 6); v.ValidUntil.After(end) {
		t.Errorf("valid until %v, though NVIDIA's answers end %v", v.ValidUntil, end)
	}
	// The layout of existing SecretVM: the nonce is the second half.
	rd = [64]byte{1}
	copy(rd[32:], nonce)
	if v, err = Verify(b.shows(t, rd, nonce), b.options); err != nil || len(v.GPUs) != 1 {
		t.Errorf("nonce in report data: %v", err)
	}
}

func TestGPURefused(t *testing.T) {
	b := newGPUBed(t)
	rd, nonce := ours()
	other, _ := b.nvidia.Device(nvidia.KindGPU, "GH100")
	for _, row := range []struct {
		name   string
		change func(*vm.Evidence, *Options)
		want   vm.Code
	}{
		{"nonce of another quote", func(ev *vm.Evidence, _ *Options) {
			*ev = b.shows(t, vm.AttestationReportData(vm.Hash{2}, []byte("nonce")), nonce)
		}, vm.CodeReportData},
		{"nonce of nothing", func(ev *vm.Evidence, _ *Options) { *ev = b.shows(t, [64]byte{1}, make([]byte, 32)) }, vm.CodeReportData},
		{"short nonce", func(ev *vm.Evidence, _ *Options) { ev.GPU.Nonce = nonce[:8] }, vm.CodeReportData},
		{"report over another nonce", func(ev *vm.Evidence, _ *Options) {
			ev.GPU.Devices[0], _ = b.gpu.Evidence(bytes.Repeat([]byte{1}, 32), nil)
		}, vm.CodeStale},
		{"bad GPU that nobody asked for", func(ev *vm.Evidence, _ *Options) { ev.GPU.Devices[0].Evidence[60] ^= 1 }, vm.CodeSignature},
		{"no GPU at all", func(ev *vm.Evidence, o *Options) { ev.GPU, o.Policy.GPU.GPUs = nil, 1 }, vm.CodeGPU},
		{"too few", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.GPUs = 2 }, vm.CodeGPU},
		{"no switch", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.Switches = 1 }, vm.CodeGPU},
		{"another architecture", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.Architectures = []string{"BLACKWELL"} }, vm.CodeGPU},
		{"another device", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.Hardware = []string{"00"} }, vm.CodeGPU},
		{"device that NVIDIA did not answer about", func(ev *vm.Evidence, _ *Options) { ev.GPU.Devices[0], _ = other.Evidence(nonce, nil) }, vm.CodeCollateral},
		{"roots of the CPU only", func(_ *vm.Evidence, o *Options) { o.Roots = o.Roots[:1] }, vm.CodeChain},
		{"bad CPU, good GPU", func(ev *vm.Evidence, _ *Options) { ev.Quote[60] ^= 1 }, vm.CodeSignature},
		{"policy that cannot hold", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.GPUs = 17 }, vm.CodeInvalid},
		{"policy that names no architecture", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.Architectures = []string{"x"} }, vm.CodeInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev, o := b.shows(t, rd, nonce), b.options
			row.change(&ev, &o)
			v, err := Verify(ev, o)
			refused(t, err, row.want)
			if len(v.GPUs) > 0 || len(v.ReportData) > 0 {
				t.Error("a refusal comes with facts")
			}
		})
	}
}

// TestGPUToken: the word of a service that the policy trusts stands in for
// reference documents and revocation, never for the device's own evidence.
func TestGPUToken(t *testing.T) {
	b := newGPUBed(t)
	rd, nonce := ours()
	jwks, err := b.nvidia.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	said, err := b.nvidia.Token(nonce, []*nvidiatest.Device{b.gpu}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.nvidia.Device(nvidia.KindGPU, "GH100")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func(*vm.Evidence, *Options)
		want   vm.Code
	}{
		{"token alone", func(ev *vm.Evidence, _ *Options) { ev.GPU.RIMs, ev.GPU.OCSP = nil, nil }, ""},
		{"token beside documents", func(*vm.Evidence, *Options) {}, ""},
		{"token that the policy does not ask for", func(ev *vm.Evidence, o *Options) { o.Policy.GPU.Tokens, ev.GPU.Token = nil, []byte("x") }, ""},
		{"the same, without documents", func(ev *vm.Evidence, o *Options) { o.Policy.GPU.Tokens, ev.GPU.RIMs = nil, nil }, vm.CodeCollateral},
		{"no token, without documents", func(ev *vm.Evidence, _ *Options) { ev.GPU.Token, ev.GPU.RIMs = nil, nil }, vm.CodeCollateral},
		{"token of another issuer", func(_ *vm.Evidence, o *Options) { o.Policy.GPU.Issuer = "https://example" }, vm.CodeChain},
		{"token about another device", func(ev *vm.Evidence, _ *Options) { ev.GPU.Devices[0], _ = other.Evidence(nonce, nil) }, vm.CodeGPUMeasured},
		{"token, and a report that is not signed", func(ev *vm.Evidence, _ *Options) { ev.GPU.Devices[0].Evidence[60] ^= 1 }, vm.CodeSignature},
		{"token, and a document that differs", func(ev *vm.Evidence, _ *Options) {
			ev.GPU.RIMs[0], _ = b.nvidia.DriverRIM(append(nvidiatest.Golden(7), wrong(21)...))
		}, vm.CodeGPUMeasured},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev, o := b.shows(t, rd, nonce), b.options
			ev.GPU.Token, o.Policy.GPU.Tokens = said, [][]byte{jwks}
			row.change(&ev, &o)
			v, err := Verify(ev, o)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if vouched := len(o.Policy.GPU.Tokens) > 0; (v.GPUs[0].VouchedBy == nvidiatest.Issuer) != vouched {
				t.Errorf("vouched by %q", v.GPUs[0].VouchedBy)
			}
		})
	}
}

// TestGPURemembered: a Verifier that knows the signatures says the same, of
// sound evidence and of what was changed since, at its time and at others.
func TestGPURemembered(t *testing.T) {
	b := newGPUBed(t)
	rd, nonce := ours()
	v := NewVerifier(CacheOptions{})
	ev := b.shows(t, rd, nonce)
	for range 2 {
		got, err := v.Verify(ev, b.options)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Verify(ev, b.options)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("remembered verdict %+v, want %+v (%v)", got, want, err)
		}
	}
	parts := map[string][]byte{"report": ev.GPU.Devices[0].Evidence, "document": ev.GPU.RIMs[0], "answer": ev.GPU.OCSP[0], "chain": ev.GPU.Devices[0].CertChain}
	for name, part := range parts {
		for _, at := range []int{60, 333, 800} {
			if at >= len(part) {
				continue
			}
			part[at] ^= 2
			_, got := v.Verify(ev, b.options)
			_, want := Verify(ev, b.options)
			if got == nil || want == nil || got.Error() != want.Error() {
				t.Errorf("%s with byte %d changed: %v, want %v", name, at, got, want)
			}
			part[at] ^= 2
		}
	}
	late := b.options
	late.Time = now.AddDate(0, 2, 0)
	if _, err := v.Verify(ev, late); err == nil {
		t.Error("what was once verified never expires")
	}
	other := newGPUBed(t)
	if _, err := v.Verify(ev, other.options); err == nil {
		t.Error("what was once verified is good below any root")
	}
}

func BenchmarkGPU(b *testing.B) {
	bed := newGPUBed(b)
	rd, nonce := ours()
	ev := bed.shows(b, rd, nonce)
	for name, verify := range map[string]func(vm.Evidence, Options) (vm.Verdict, error){"fresh": Verify, "remembered": NewVerifier(CacheOptions{}).Verify} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(ev, bed.options); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestGPUOfSecretVM: CPU and GPU evidence of one existing SecretVM machine go
// together, by the nonce in the second half of its report data.
func TestGPUOfSecretVM(t *testing.T) {
	const dir = "secretvm-verify/test-data/"
	quote, err := tdx.Decode(readHex(t, dir+"cpu_quote.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var request struct{ Nonce string }
	if err := json.Unmarshal(read(t, dir+"gpu_attest.txt"), &request); err != nil {
		t.Fatal(err)
	}
	nonce, err := hex.DecodeString(request.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkGPUNonce(nonce, quote.Body.ReportData[:]); err != nil {
		t.Error(err)
	}
	nonce[0] ^= 1
	refused(t, checkGPUNonce(nonce, quote.Body.ReportData[:]), vm.CodeReportData)
}

// wrong is a reference value that no device has.
func wrong(index int) []rim.Golden {
	return []rim.Golden{{Index: index, Values: [][]byte{nvidiatest.Measurement(99)}}}
}
