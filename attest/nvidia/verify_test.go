package nvidia

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

func TestGenuine(t *testing.T) {
	b := newBed(t)
	second := must(b.Device(KindGPU, "GH100"))(t)
	nvswitch := must(b.Device(KindSwitch, "LS10"))(t)
	ev := b.evidence(t, b.gpu, second, nvswitch)
	ev.RIMs = append(ev.RIMs, must(b.RIM(nvidiatest.Document{Product: "LS10", Version: nvidiatest.Switch, Golden: nvidiatest.Golden(0, 2)}))(t))
	r, err := Verify(ev, b.options())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Devices) != 3 || !r.Until.Equal(now.AddDate(0, 0, 6)) {
		t.Fatalf("%d devices until %v, want 3 until the answers end", len(r.Devices), r.Until)
	}
	facts := r.Devices[0].Facts
	want := vm.GPUFacts{
		Kind: KindGPU, Architecture: "HOPPER", Model: "GH100", SKU: nvidiatest.SKU, HardwareID: facts.HardwareID,
		Driver: nvidiatest.Driver, Firmware: nvidiatest.VBIOS, Measured: true, Unrevoked: true,
	}
	if facts != want || facts.HardwareID == "" || facts.HardwareID == r.Devices[1].Facts.HardwareID {
		t.Errorf("facts %+v, want %+v and hardware ids that differ", facts, want)
	}
	if got := r.Devices[2].Facts; got.Kind != KindSwitch || got.Architecture != "LS10" || got.Firmware != nvidiatest.Switch || got.Driver != "" || !got.Measured {
		t.Errorf("switch %+v", got)
	}
	// The video decoder's measurement has no meaning while that is off.
	ev = b.evidence(t, b.gpu)
	ev.Devices[0] = must(b.gpu.Evidence(b.nonce, func(r *spdm.Report) {
		r.Blocks[35].Value = nvidiatest.Measurement(99)
		set(r, spdm.FieldNVDEC0, []byte{spdm.NVDEC0Off})
	}))(t)
	if _, err := Verify(ev, b.options()); err != nil {
		t.Errorf("with the decoder off: %v", err)
	}
	// A policy may do without documents and answers; the facts then say so.
	ev.RIMs, ev.OCSP = nil, nil
	o := b.options()
	o.Unmeasured, o.Unchecked = true, true
	if r, err = Verify(ev, o); err != nil || r.Devices[0].Facts.Measured || r.Devices[0].Facts.Unrevoked {
		t.Errorf("bare evidence: %+v, %v", r.Devices, err)
	}
}

// TestBlackwell: the ids of its reference documents name the chip as the report
// does, and a document of the same version for another chip does not count.
func TestBlackwell(t *testing.T) {
	b := newBed(t)
	gpu := must(b.Device(KindGPU, "GB100"))(t)
	chip := func(name string) func(*spdm.Report) {
		return func(r *spdm.Report) {
			r.Opaque.Entries = append(r.Opaque.Entries, spdm.Entry{Field: spdm.FieldChip, Value: []byte(name + "\x00")})
		}
	}
	ev, o := b.evidence(t, gpu), b.options()
	ev.Devices[0] = must(gpu.Evidence(b.nonce, chip("GB100")))(t)
	_, err := Verify(ev, o)
	refused(t, err, vm.CodeCollateral, "NV_GPU_CC_DRIVER_GB100_999.01.02")
	for _, version := range []string{nvidiatest.Driver, nvidiatest.VBIOS} {
		index := len(version) // some that differ
		ev.RIMs = append(ev.RIMs, must(b.RIM(nvidiatest.Document{Product: "GB100", Version: version, Golden: nvidiatest.Golden(index)}))(t))
	}
	r, err := Verify(ev, o)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Devices[0].Facts; f.Architecture != "BLACKWELL" || f.Model != "GB100" || !f.Measured {
		t.Errorf("facts %+v", f)
	}
	ev.Devices[0] = must(gpu.Evidence(b.nonce, chip("GB202")))(t)
	_, err = Verify(ev, o)
	refused(t, err, vm.CodeCollateral, "NV_GPU_CC_DRIVER_GB202_999.01.02")
	ev.Devices[0] = must(gpu.Evidence(b.nonce, chip("GH100")))(t)
	_, err = Verify(ev, o)
	refused(t, err, vm.CodeGPU, "another generation")
}

func set(r *spdm.Report, f spdm.Field, value []byte) {
	i := slices.IndexFunc(r.Opaque.Entries, func(e spdm.Entry) bool { return e.Field == f })
	r.Opaque.Entries[i].Value = value
}

// TestRefused holds what whoever has PKIs of their own, or owns a genuine
// device, might present instead of sound evidence.
func TestRefused(t *testing.T) {
	b := newBed(t)
	other := newBed(t)
	reported := func(change func(*spdm.Report)) func(*testing.T, *vm.GPUEvidence, *Options) {
		return func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0] = must(b.gpu.Evidence(b.nonce, change))(t)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*testing.T, *vm.GPUEvidence, *Options)
		want   vm.Code
		says   string
	}{
		{"another nonce", reported(func(r *spdm.Report) { r.RequestNonce[0]++ }), vm.CodeStale, "answers another nonce"},
		{"another machine's nonce", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.Nonce = make([]byte, NonceSize) }, vm.CodeStale, "answers another nonce"},
		{"short nonce", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.Nonce = ev.Nonce[:31] }, vm.CodeMalformed, "31 bytes"},
		{"no device", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.Devices = nil }, vm.CodeTooLarge, "0 devices"},
		{"too many devices", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices = make([]vm.GPUDevice, vm.MaxGPUs+1)
		}, vm.CodeTooLarge, "17 devices"},
		{"too large", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.Token = make([]byte, vm.MaxGPUSize) }, vm.CodeTooLarge, "at most"},
		{"the same device twice", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.Devices = append(ev.Devices, ev.Devices[0]) }, vm.CodeGPU, "devices 0 and 1"},
		{"another device's chain", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0].CertChain = nvidiatest.PEM(must(b.Device(KindGPU, "GH100"))(t).Certs()...)
		}, vm.CodeSignature, "report of the GH100"},
		{"another PKI's device", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0] = must(other.gpu.Evidence(b.nonce, nil))(t)
		}, vm.CodeChain, "not trusted"},
		{"another PKI behind our root's name", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0] = must(other.gpu.Evidence(b.nonce, nil))(t)
			certs := append(other.gpu.Certs()[:3:3], b.DeviceRoot.Cert)
			ev.Devices[0].CertChain = nvidiatest.PEM(certs...)
		}, vm.CodeSignature, "GH100 Identity"},
		{"no root", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0].CertChain = nvidiatest.PEM(b.gpu.Certs()[:3]...)
		}, vm.CodeChain, "not trusted"},
		{"certificates out of order", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			c := b.gpu.Certs()
			ev.Devices[0].CertChain = nvidiatest.PEM(c[0], c[2], c[1], c[3])
		}, vm.CodeChain, "not by the next one"},
		{"no attestation key", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0].CertChain = nvidiatest.PEM(b.gpu.Certs()[1:]...)
		}, vm.CodeChain, "may not sign"},
		{"NVIDIA's roots", func(_ *testing.T, _ *vm.GPUEvidence, o *Options) { o.Roots = nil }, vm.CodeChain, "NVIDIA Device Identity CA"},
		{"long after", func(_ *testing.T, _ *vm.GPUEvidence, o *Options) { o.Time = now.AddDate(1, 0, 0) }, vm.CodeExpired, "has expired"},
		{"long before", func(_ *testing.T, _ *vm.GPUEvidence, o *Options) { o.Time = now.AddDate(-1, 0, 0) }, vm.CodeExpired, "not valid yet"},
		{"a switch as a GPU", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0] = must(must(b.Device(KindSwitch, "LS10"))(t).Evidence(b.nonce, nil))(t)
			ev.Devices[0].Kind = KindGPU
			ev.OCSP = nil
		}, vm.CodeGPU, "another kind"},
		{"a network card", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.Devices[0] = must(must(b.Device(KindGPU, "BF3X"))(t).Evidence(b.nonce, nil))(t)
		}, vm.CodeGPU, "not that of a GPU"},
		{"other firmware", reported(func(r *spdm.Report) { set(r, spdm.FieldFWID, make([]byte, 48)) }), vm.CodeChain, "other firmware"},
		{"driver measurement", reported(func(r *spdm.Report) { r.Blocks[21].Value = nvidiatest.Measurement(1) }), vm.CodeGPUMeasured, "measurement 21 of NV_GPU_DRIVER_GH100_999.01.02"},
		{"two VBIOS measurements", reported(func(r *spdm.Report) {
			r.Blocks[1].Value, r.Blocks[12].Value = nvidiatest.Measurement(9), nvidiatest.Measurement(9)
		}), vm.CodeGPUMeasured, "different: 1, 12"},
		{"measurement left out", reported(func(r *spdm.Report) { r.Blocks = slices.Delete(r.Blocks, 7, 8) }), vm.CodeGPUMeasured, "absent"},
		{"video decoder on", reported(func(r *spdm.Report) { r.Blocks[35].Value = nvidiatest.Measurement(9) }), vm.CodeGPUMeasured, "measurement 35"},
		{"video decoder unknown", reported(func(r *spdm.Report) { set(r, spdm.FieldNVDEC0, []byte{1}) }), vm.CodeMalformed, "video decoder"},
		{"older driver", reported(func(r *spdm.Report) { set(r, spdm.FieldDriver, []byte("998.00\x00")) }), vm.CodeCollateral, "NV_GPU_DRIVER_GH100_998.00"},
		{"driver with a path in it", reported(func(r *spdm.Report) { set(r, spdm.FieldDriver, []byte("../../x\x00")) }), vm.CodeMalformed, "no plain text"},
		{"no documents", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.RIMs = nil }, vm.CodeCollateral, "NV_GPU_DRIVER_GH100_999.01.02"},
		{"no VBIOS document", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.RIMs = ev.RIMs[:1] }, vm.CodeCollateral, "NV_GPU_VBIOS_1010_0200_882_96009F0001"},
		{"another PKI's document", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.RIMs[0] = must(other.DriverRIM(nvidiatest.Golden(7)))(t)
		}, vm.CodeChain, "signer of the reference document"},
		{"document of debug firmware", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			p := *b.PKI
			p.RIMSigner = must(p.Issue(nvidiatest.Template(now, "Signer Debug Only", false), &p.RIMCA))(t)
			ev.RIMs[0] = must(p.DriverRIM(nvidiatest.Golden(7)))(t)
		}, vm.CodeChain, "debug firmware"},
		{"expired document", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			p := *b.PKI
			template := nvidiatest.Template(now.AddDate(0, -2, 0), "RIM L4 Signer", false)
			p.RIMSigner = must(p.Issue(template, &p.RIMCA))(t)
			ev.RIMs[0] = must(p.DriverRIM(nvidiatest.Golden(7)))(t)
		}, vm.CodeExpired, "has expired"},
		{"documents that overlap", func(t *testing.T, ev *vm.GPUEvidence, _ *Options) {
			ev.RIMs[1] = must(b.VBIOSRIM(nvidiatest.Golden(0, 7)))(t)
		}, vm.CodeGPUMeasured, "same measurement"},
		{"no answers", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.OCSP = nil }, vm.CodeCollateral, "revoked"},
		{"one answer missing", func(_ *testing.T, ev *vm.GPUEvidence, _ *Options) { ev.OCSP = ev.OCSP[1:] }, vm.CodeCollateral, "RIM L4 Signer"},
		{"answers of last month", func(_ *testing.T, _ *vm.GPUEvidence, o *Options) { o.Time = now.AddDate(0, 0, 10) }, vm.CodeExpired, "OCSP answer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev, o := b.evidence(t, b.gpu), b.options()
			row.change(t, ev, &o)
			if row.want == vm.CodeGPU || row.name == "another device's chain" {
				o.Unchecked = true // their answers are not the point
			}
			r, err := Verify(ev, o)
			refused(t, err, row.want, row.says)
			if len(r.Devices) != 0 {
				t.Error("a refusal comes with facts")
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	b := newBed(t)
	rom, identity := b.gpu.Chain[1], b.gpu.Chain[2]
	responder := must(b.Responder(b.DeviceRoot))(t)
	stranger := must(b.Issue(nvidiatest.Template(now, "no responder", false), &b.DeviceRoot))(t)
	for _, row := range []struct {
		name   string
		answer []byte
		alone  bool // in place of the good one, not beside it
		change func(*Options)
		want   vm.Code
	}{
		{"revoked", must(b.Answer(rom.Cert, identity, nvidiatest.Revoked, nil))(t), true, nil, vm.CodeRevoked},
		{"revoked, beside a good answer", must(b.Answer(rom.Cert, identity, nvidiatest.Revoked, nil))(t), false, nil, vm.CodeRevoked},
		{"revoked counts when nothing is required", must(b.Answer(rom.Cert, identity, nvidiatest.Revoked, nil))(t), true, func(o *Options) { o.Unchecked = true }, vm.CodeRevoked},
		{"hold", must(b.Answer(rom.Cert, identity, nvidiatest.Hold, nil))(t), true, nil, vm.CodeRevoked},
		{"hold, accepted", must(b.Answer(rom.Cert, identity, nvidiatest.Hold, nil))(t), true, func(o *Options) { o.Hold = true }, ""},
		{"revoked, hold accepted", must(b.Answer(rom.Cert, identity, nvidiatest.Revoked, nil))(t), true, func(o *Options) { o.Hold = true }, vm.CodeRevoked},
		{"unknown", must(b.Answer(rom.Cert, identity, nvidiatest.Unknown, nil))(t), true, nil, vm.CodeRevoked},
		{"appointed responder", must(b.Answer(rom.Cert, identity, nvidiatest.Good, &responder))(t), true, nil, ""},
		{"stranger", must(b.Answer(rom.Cert, identity, nvidiatest.Good, &stranger))(t), true, nil, vm.CodeChain},
		{"stranger, beside a good answer", must(b.Answer(rom.Cert, identity, nvidiatest.Revoked, &stranger))(t), false, nil, ""},
		{"another issuer of the same name", must(b.Answer(rom.Cert, must(b.Issue(nvidiatest.Template(now, identity.Cert.Subject.CommonName, true), nil))(t), nvidiatest.Good, nil))(t), true, nil, vm.CodeCollateral},
		{"late, within the allowance", nil, false, func(o *Options) { o.Time, o.Stale = now.AddDate(0, 0, 8), 5*24*time.Hour }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev, o := b.evidence(t, b.gpu), b.options()
			if row.alone {
				ev.OCSP = slices.Delete(ev.OCSP, 2, 3) // that about the boot ROM
			}
			if row.answer != nil {
				ev.OCSP = append(ev.OCSP, row.answer)
			}
			if row.change != nil {
				row.change(&o)
			}
			r, err := Verify(ev, o)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if good := !o.Hold; r.Devices[0].Facts.Unrevoked != good {
				t.Errorf("unrevoked is %v, want %v", !good, good)
			}
		})
	}
}

// TestLinks: in protected PCIe mode every switch that a GPU is linked with has
// to be there.
func TestLinks(t *testing.T) {
	b := newBed(t)
	first, second := must(b.Device(KindSwitch, "LS10"))(t), must(b.Device(KindSwitch, "LS10"))(t)
	field := func(f spdm.Field, value string) func(*spdm.Report) {
		return func(r *spdm.Report) {
			r.Opaque.Entries = append(r.Opaque.Entries, spdm.Entry{Field: f, Value: []byte(value)})
		}
	}
	linked := func(mode, links string) func(*spdm.Report) {
		return func(r *spdm.Report) {
			field(spdm.FieldProtectedPCIe, mode)(r)
			field(spdm.FieldPDI, links)(r)
		}
	}
	for _, row := range []struct {
		name string
		gpu  func(*spdm.Report)
		want vm.Code
	}{
		{"both switches are there", linked("\xaa", "87654321"+"HGFEDCBA"+"87654321"), ""},
		{"another switch", linked("\xaa", "87654321"+"HGFEDCBX"), vm.CodeGPU},
		{"id in the switch's own order", linked("\xaa", "12345678"), vm.CodeGPU},
		{"no links", linked("\xaa", ""), vm.CodeMalformed},
		{"half an id", linked("\xaa", "8765"), vm.CodeMalformed},
		{"not in that mode", linked("\x55", "xxxxxxxx"), ""},
	} {
		ev, o := b.evidence(t, b.gpu, first, second), b.options()
		o.Unmeasured = true
		ev.Devices[0] = must(b.gpu.Evidence(b.nonce, row.gpu))(t)
		ev.Devices[1] = must(first.Evidence(b.nonce, field(spdm.FieldPDI, "12345678")))(t)
		ev.Devices[2] = must(second.Evidence(b.nonce, field(spdm.FieldPDI, "ABCDEFGH")))(t)
		r, err := Verify(ev, o)
		if row.want != "" {
			refused(t, err, row.want)
		} else if err != nil || r.Devices[0].Facts.ProtectedPCIe != (row.name != "not in that mode") {
			t.Errorf("%s: %+v, %v", row.name, r.Devices, err)
		}
		if o.Unlinked = true; row.want != "" {
			if _, err := Verify(ev, o); err != nil {
				t.Errorf("%s, though links do not count: %v", row.name, err)
			}
		}
	}
}

// TestEveryByteCounts flips each byte of a report, of the chain and of the
// documents' signed parts: no change goes unnoticed.
func TestEveryByteCounts(t *testing.T) {
	b := newBed(t)
	ev, o := b.evidence(t, b.gpu), b.options()
	o.Memory = known{} // what was not changed need not be verified each time
	flip := func(t *testing.T, what string, part []byte, step int) {
		t.Helper()
		for i := 0; i < len(part); i += step {
			part[i] ^= 1
			if _, err := Verify(ev, o); err == nil {
				t.Errorf("%s: byte %d may be changed", what, i)
			}
			part[i] ^= 1
		}
	}
	flip(t, "report", ev.Devices[0].Evidence, 13)
	flip(t, "nonce", ev.Nonce, 1)
	certs := b.gpu.Certs()
	for i, cert := range certs[:3] {
		for at := 0; at < len(cert.Raw); at += 19 {
			raw := slices.Clone(cert.Raw)
			raw[at] ^= 1
			changed := slices.Clone(certs)
			changed[i] = &x509.Certificate{Raw: raw}
			ev.Devices[0].CertChain = nvidiatest.PEM(changed...)
			if _, err := Verify(ev, o); err == nil {
				t.Errorf("certificate %d: byte %d may be changed", i, at)
			}
		}
	}
	ev.Devices[0].CertChain = nvidiatest.PEM(certs...)
	for _, document := range ev.RIMs {
		// The root's own certificate comes last; of it name and key count, and the trusted copy is used.
		flip(t, "reference document", document[:bytes.LastIndex(document, []byte("<ds:X509Certificate>"))], 67)
	}
	if _, err := Verify(ev, o); err != nil {
		t.Fatalf("the evidence was not sound to begin with: %v", err)
	}
}

// known is a memory without bounds.
type known map[vm.Hash]bool

func (k known) Known(h vm.Hash) bool { return k[h] }
func (k known) Learn(h vm.Hash)      { k[h] = true }

func TestNeeds(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t, b.gpu, must(b.Device(KindGPU, "GH100"))(t))
	n, err := Needs(ev)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.RIMs) != 2 || !n.RIMs[0].Have || !n.RIMs[1].Have || n.RIMs[1].ID != "NV_GPU_VBIOS_1010_0200_882_96009F0001" {
		t.Errorf("reference documents %+v", n.RIMs)
	}
	if len(n.OCSP) != 5 { // two boot ROMs, their CA, the documents' signer and its CA
		t.Errorf("%d answers are needed, want 5", len(n.OCSP))
	}
	for _, ref := range n.OCSP {
		if request, err := ref.Request(); err != nil || len(request) < 100 || !ref.Have || ref.URL != DefaultOCSP {
			t.Errorf("answer %+v, request of %d bytes, %v", ref, len(request), err)
		}
	}
	ev.RIMs, ev.OCSP = nil, nil
	if n, err = Needs(ev); err != nil || len(n.RIMs) != 2 || n.RIMs[0].Have || len(n.OCSP) != 3 || n.OCSP[0].Have {
		t.Errorf("bare evidence needs %+v, %v", n, err)
	}
}

func BenchmarkVerifyOneGPU(b *testing.B) {
	bed := newBed(b)
	ev, o := bed.evidence(b, bed.gpu), bed.options()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(ev, o); err != nil {
			b.Fatal(err)
		}
	}
}
