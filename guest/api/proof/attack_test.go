package proof

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// quoted are the report data that the device was asked about.
type quoted [][64]byte

func (q *quoted) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	*q = append(*q, reportData)
	return vm.Evidence{TEE: vm.Soft}, nil
}

// TestW2_NoQuoteOfItsChoice: a process that answers containers, and that somebody
// took over, has the machine quote nothing that means something else: no request for
// keys, no answer to a verifier, no TLS key, and no key to sign with but the one
// that the machine had shown before.
func TestW2_NoQuoteOfItsChoice(t *testing.T) {
	var q quoted
	d := New(&q, vm.Config{API: vm.API{"web": {vm.GrantQuote}}})
	shown := bytes.Repeat([]byte{1}, 32)
	key := vm.HashOf([]byte("a TLS key of the attacker"))
	for _, wrong := range [][]Public{
		{{Kind: vm.SignEd25519, Raw: make([]byte, 64)}}, {{Kind: vm.SignEd25519, Raw: make([]byte, 33)}}, {{Kind: vm.SignSecp256k1, Raw: make([]byte, 65)}}, {{Kind: "raw", Raw: shown}},
	} {
		if err := d.Show(wrong); err == nil {
			t.Errorf("shows a key of kind %s with %d bytes", wrong[0].Kind, len(wrong[0].Raw))
		}
	}
	if _, err := d.Quote(t.Context(), Question{For: ForSigning, Kind: vm.SignEd25519}); err == nil {
		t.Error("quotes a key before one is shown")
	}
	if err := d.Show([]Public{{Kind: vm.SignEd25519, Raw: shown}}); err != nil {
		t.Fatal(err)
	}
	release := vm.Release{HPKEKey: []byte("the attacker's"), SessionKey: []byte("too")}.ReportData()
	attestation := vm.AttestationReportData(key, []byte("a nonce"))
	wanted := map[[64]byte]string{release: "a release", attestation: "an answer to a nonce", vm.SigningReportData(key[:]): "a TLS key"}
	for _, purpose := range []string{ForWorkload, ForApplication, ForSigning, "release", "attestation", "certificate", "cpu", ""} {
		for _, data := range [][]byte{nil, key[:], release[:], attestation[:], append(key[:], make([]byte, 32)...)} {
			for _, kind := range []string{"", vm.SignEd25519, vm.SignSecp256k1, string(key[:])} {
				_, _ = d.Quote(t.Context(), Question{For: purpose, Data: data, Kind: kind})
			}
		}
	}
	if _, err := d.Quote(t.Context(), Question{For: ForWorkload, Data: make([]byte, 65)}); err == nil {
		t.Error("quotes more data than it says")
	}
	if len(q) < 8 {
		t.Fatalf("%d quotes: the test has lost its object", len(q))
	}
	for _, rd := range q {
		if what, is := wanted[rd]; is {
			t.Errorf("it had %s quoted", what)
		}
	}
}

// TestW2_LogForgetsNothing: the process adds for services that are granted it, and
// takes nothing back; of a log that fills several messages each event is read once.
func TestW2_LogForgetsNothing(t *testing.T) {
	grants := vm.API{}
	for i := range 20 {
		grants[fmt.Sprint("s", i)] = []string{vm.GrantEvent}
	}
	grants["web"] = []string{vm.GrantQuote}
	d := New(new(quoted), vm.Config{API: grants})
	add := func(service, name string, payload []byte) error {
		_, err := d.Add(t.Context(), Event{service, name, payload})
		return err
	}
	for service, want := range map[string]vm.Code{"web": vm.CodePermission, "nobody": vm.CodePermission} {
		if err := add(service, "x", nil); vm.CodeOf(err) != want {
			t.Errorf("service %s adds: %v", service, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b"} {
		if err := add("s1", name, nil); vm.CodeOf(err) != vm.CodeInvalid {
			t.Errorf("an event %q: %v", name, err)
		}
	}
	for i := range vm.MaxServiceEvents {
		for service := range 20 {
			if err := add(fmt.Sprint("s", service), "e", bytes.Repeat([]byte{byte(i)}, vm.MaxEventPayload)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := add("s1", "e", nil); vm.CodeOf(err) != vm.CodeTooLarge {
		t.Errorf("one more: %v", err)
	}
	var events []vm.Event
	for {
		page, err := d.Log(t.Context(), From{len(events)})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) == 0 {
			break
		}
		events = append(events, page.Events...)
	}
	register, all := d.Application()
	if replayed, err := vm.ReplayApplication(events); err != nil || replayed != register || len(events) != len(all) || len(all) != 20*vm.MaxServiceEvents {
		t.Errorf("%d of %d events, %v", len(events), len(all), err)
	}
	if page, err := d.Log(t.Context(), From{-1}); err != nil || len(page.Events) != pageEvents {
		t.Errorf("from before the first: %d, %v", len(page.Events), err)
	}
}
