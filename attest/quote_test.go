package attest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// TestQuoteFields forges each judged field of a quote, properly signed, and
// each unsigned part around it.
func TestQuoteFields(t *testing.T) {
	for _, row := range []struct {
		name   string
		forge  func(*tdx.Quote) // before signing
		tamper func(*tdx.Quote) // after signing
		policy Policy
		want   vm.Code
		text   string
	}{
		{name: "sound"},
		{name: "version 5, TDX 1.0 body", forge: func(q *tdx.Quote) { q.Header.Version = 5 }},
		{name: "version 5, TDX 1.5 body", forge: func(q *tdx.Quote) { q.Header.Version, q.BodyType = 5, tdx.BodyTD15 }},
		{name: "service TD", forge: func(q *tdx.Quote) {
			q.Header.Version, q.BodyType, q.Body.MRServiceTD = 5, tdx.BodyTD15, vm.Register{1}
		}, want: vm.CodeAttributes, text: "MRSERVICETD"},
		{name: "migratable", forge: func(q *tdx.Quote) { q.Body.TDAttributes |= tdx.AttributeMigratable }, want: vm.CodeAttributes},
		{name: "reserved attribute", forge: func(q *tdx.Quote) { q.Body.TDAttributes |= 1 << 20 }, want: vm.CodeAttributes},
		{name: "protection keys", forge: func(q *tdx.Quote) { q.Body.TDAttributes |= tdx.AttributePKS }, want: vm.CodeAttributes},
		{name: "protection keys, allowed", forge: func(q *tdx.Quote) { q.Body.TDAttributes |= tdx.AttributePKS }, policy: Policy{Attributes: tdx.AttributePKS}},
		{name: "SEPT_VE_DISABLE off", forge: func(q *tdx.Quote) { q.Body.TDAttributes = 0 }, want: vm.CodeAttributes, text: "SEPT_VE_DISABLE"},
		{name: "SEPT_VE_DISABLE off, allowed", forge: func(q *tdx.Quote) { q.Body.TDAttributes = 0 }, policy: Policy{SEPTVE: true}},
		{name: "XFAM without SSE", forge: func(q *tdx.Quote) { q.Body.XFAM &^= 2 }, want: vm.CodeAttributes, text: "XFAM"},
		{name: "XFAM with a reserved bit", forge: func(q *tdx.Quote) { q.Body.XFAM |= 1 << 62 }, want: vm.CodeAttributes, text: "XFAM"},
		{name: "module with attributes", forge: func(q *tdx.Quote) { q.Body.SEAMAttributes = 1 }, want: vm.CodeModule},
		{name: "module of a stranger", forge: func(q *tdx.Quote) { q.Body.MRSignerSEAM = vm.Register{1} }, want: vm.CodeModule},
		{name: "module version unlisted", forge: func(q *tdx.Quote) { q.Body.TEETCBSVN[1] = 2 }, want: vm.CodeModule},
		{name: "module version 0 judged by components", forge: func(q *tdx.Quote) { q.Body.TEETCBSVN[0], q.Body.TEETCBSVN[1] = 5, 0 }, want: vm.CodeTCB},
		{name: "enclave of another vendor", forge: func(q *tdx.Quote) { q.Header.VendorID[0]++ }, want: vm.CodeQEIdentity},
		{name: "body changed", tamper: func(q *tdx.Quote) { q.Body.MRTD[0]++ }, want: vm.CodeSignature, text: "the quote"},
		{name: "QE report changed", tamper: func(q *tdx.Quote) { q.Signature.QEReport.ISVSVN++ }, want: vm.CodeSignature, text: "quoting enclave's report"},
		{name: "attestation key replaced", tamper: func(q *tdx.Quote) { q.Signature.AttestationKey[0]++ }, want: vm.CodeSignature, text: "vouch"},
		{name: "authentication data changed", tamper: func(q *tdx.Quote) { q.Signature.AuthData[0]++ }, want: vm.CodeSignature, text: "vouch"},
		{name: "authentication data cut", tamper: func(q *tdx.Quote) { q.Signature.AuthData = nil }, want: vm.CodeSignature, text: "vouch"},
		{name: "zero signature", tamper: func(q *tdx.Quote) { q.Signature.Quote = [64]byte{} }, want: vm.CodeSignature},
		{name: "no chain", tamper: func(q *tdx.Quote) { q.Signature.PCKChain = nil }, want: vm.CodeMalformed},
		{name: "chain without root", tamper: func(q *tdx.Quote) {
			q.Signature.PCKChain = q.Signature.PCKChain[:bytes.LastIndex(q.Signature.PCKChain, []byte("-----BEGIN"))]
		}, want: vm.CodeMalformed, text: "2 certificates"},
		{name: "text between certificates", tamper: func(q *tdx.Quote) {
			q.Signature.PCKChain = bytes.Replace(q.Signature.PCKChain, []byte("\n-----BEGIN"), []byte("\nhello\n-----BEGIN"), 1)
		}, want: vm.CodeMalformed},
		{name: "fourth certificate", tamper: func(q *tdx.Quote) {
			chain := bytes.TrimRight(q.Signature.PCKChain, "\x00")
			q.Signature.PCKChain = append(slices.Clone(chain), chain[bytes.LastIndex(chain, []byte("-----BEGIN")):]...)
		}, want: vm.CodeTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			if row.forge != nil {
				b.resign(t, &ev, row.forge)
			}
			if row.tamper != nil {
				unsigned(t, &ev, row.tamper)
			}
			b.options.Policy = row.policy
			_, err := bothWays(t, ev, b.options)
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, row.want)
			if !strings.Contains(err.Error(), row.text) {
				t.Errorf("refusal %q, want %q in it", err, row.text)
			}
		})
	}
}

// TestFlipAnyByte changes every single byte of the quote, one at a time: no
// quote but the genuine one is accepted. The one exception is padding.
func TestFlipAnyByte(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	genuine := ev.Quote
	want, err := bothWays(t, ev, b.options)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(genuine)
	if err != nil {
		t.Fatal(err)
	}
	chainAt := len(genuine) - len(q.Signature.PCKChain)
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(genuine); i += step {
		ev.Quote = slices.Clone(genuine)
		ev.Quote[i] ^= 1 << (i % 8)
		verdict, err := bothWays(t, ev, b.options)
		if err != nil {
			if code := vm.CodeOf(err); code == vm.CodeInternal {
				t.Fatalf("byte %d: %v", i, err)
			}
			continue
		}
		// A PEM text has more than one spelling (line ends), and the root in the
		// chain is not the one that is trusted; what it says must be the same.
		if i < chainAt || verdict.Measurement != want.Measurement || !bytes.Equal(verdict.ReportData, want.ReportData) {
			t.Errorf("byte %d of %d flipped: accepted", i, len(genuine))
		}
	}
}

// TestK8_Bounds refuses what is too large, cut, or followed by something.
func TestK8_Bounds(t *testing.T) {
	b := newBed(t)
	sound := b.evidence(t)
	for n := range len(sound.Quote) {
		ev := sound
		ev.Quote = sound.Quote[:n]
		if _, err := bothWays(t, ev, b.options); vm.CodeOf(err) != vm.CodeMalformed {
			t.Fatalf("quote cut to %d bytes: %v", n, err)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*vm.Evidence)
		want   vm.Code
	}{
		{"zero padding", func(ev *vm.Evidence) { ev.Quote = append(slices.Clone(ev.Quote), make([]byte, 3000)...) }, ""},
		{"another byte behind", func(ev *vm.Evidence) { ev.Quote = append(slices.Clone(ev.Quote), 0, 0, 1) }, vm.CodeMalformed},
		{"no quote", func(ev *vm.Evidence) { ev.Quote = nil }, vm.CodeMalformed},
		{"huge quote", func(ev *vm.Evidence) { ev.Quote = append(slices.Clone(ev.Quote), make([]byte, vm.MaxQuoteSize)...) }, vm.CodeTooLarge},
		{"huge collateral", func(ev *vm.Evidence) {
			c := *ev.Collateral
			c.TCBInfo = make([]byte, vm.MaxCollateralSize)
			ev.Collateral = &c
		}, vm.CodeTooLarge},
		{"huge event list", func(ev *vm.Evidence) {
			for range vm.MaxEventsSize / vm.MaxEventPayload {
				ev.Events = append(ev.Events, vm.RuntimeEvent("x", make([]byte, vm.MaxEventPayload)))
			}
		}, vm.CodeTooLarge},
		{"many events", func(ev *vm.Evidence) {
			for range vm.MaxEvents + 1 {
				ev.Events = append(ev.Events, vm.RuntimeEvent("x", nil))
			}
		}, vm.CodeEvents},
		{"an environment unheard of", func(ev *vm.Evidence) { ev.TEE = "sev" }, vm.CodeInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := sound
			row.change(&ev)
			_, err := bothWays(t, ev, b.options)
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, row.want)
		})
	}
}

// TestEvents: a list must explain the register, exactly.
func TestEvents(t *testing.T) {
	b := newBed(t)
	events := []vm.Event{vm.RuntimeEvent("compose-hash", []byte("x")), vm.RuntimeEvent(vm.EventBootComplete, nil)}
	for _, e := range events {
		if _, err := b.machine.Extend(e.Register, e.Digest); err != nil {
			t.Fatal(err)
		}
	}
	ev := b.evidence(t)
	forged := slices.Clone(events)
	forged[0].Payload = []byte("y")
	for _, row := range []struct {
		name   string
		events []vm.Event
		want   vm.Code
	}{
		{"none", nil, ""},
		{"all", events, ""},
		{"one missing", events[:1], vm.CodeEvents},
		{"one more", append(slices.Clone(events), vm.RuntimeEvent("more", nil)), vm.CodeEvents},
		{"order", []vm.Event{events[1], events[0]}, vm.CodeEvents},
		{"payload changed, digest kept", forged, vm.CodeEvents},
		{"another register", append(slices.Clone(events), vm.Event{Register: 2, Name: "x"}), vm.CodeEvents},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev.Events = row.events
			_, err := bothWays(t, ev, b.options)
			if vm.CodeOf(err) != row.want && (row.want != "" || err != nil) {
				t.Errorf("Verify = %v, want %s", err, row.want)
			}
		})
	}
}

// TestTimeIsRequired: a verdict for no moment is none, and the same input gives
// the same verdict at any real time.
func TestTimeIsRequired(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	_, err := Verify(ev, Options{Roots: b.options.Roots})
	refused(t, err, vm.CodeInvalid)

	verdict, err := bothWays(t, ev, b.options)
	if err != nil {
		t.Fatal(err)
	}
	b.options.Time = verdict.ValidUntil
	if _, err := bothWays(t, ev, b.options); err != nil {
		t.Errorf("at the end of its validity: %v", err)
	}
	b.options.Time = verdict.ValidUntil.Add(time.Second)
	_, err = bothWays(t, ev, b.options)
	refused(t, err, vm.CodeExpired)
}
