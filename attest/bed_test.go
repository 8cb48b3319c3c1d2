package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// now is when the tests of forged evidence take place.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// bed is a development PKI and a machine below it: everything that an attacker
// with a whole PKI of their own could forge, and nothing that Intel signed.
type bed struct {
	pki     *emulator.PKI
	machine *emulator.Machine
	options Options
}

func newBed(t testing.TB) bed {
	t.Helper()
	pki, err := emulator.NewPKI(now)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := emulator.New(pki, vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}, MRConfigID: vm.Register{5}})
	if err != nil {
		t.Fatal(err)
	}
	return bed{pki, machine, Options{Time: now, Roots: []*x509.Certificate{pki.Root.Cert}}}
}

// evidence is sound evidence of the bed's machine.
func (b bed) evidence(t testing.TB) vm.Evidence {
	t.Helper()
	ev, err := b.machine.Quote([64]byte{42})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// issue replaces the evidence's collateral by one with the plan changed.
func (b bed) issue(t testing.TB, ev *vm.Evidence, change func(*emulator.Plan)) {
	t.Helper()
	plan := emulator.DefaultPlan(now)
	change(&plan)
	c, err := b.pki.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	ev.Collateral = &c
}

// resign changes the quote and signs it anew with the bed's keys; unsigned
// changes the bytes around the signatures only.
func (b bed) resign(t testing.TB, ev *vm.Evidence, change func(*tdx.Quote)) {
	t.Helper()
	q, err := tdx.Decode(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	change(&q)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.pki.SignQuote(&q, key); err != nil {
		t.Fatal(err)
	}
	ev.Quote = tdx.Encode(q)
}

func unsigned(t testing.TB, ev *vm.Evidence, change func(*tdx.Quote)) {
	t.Helper()
	q, err := tdx.Decode(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	change(&q)
	ev.Quote = tdx.Encode(q)
}

// refused checks that err is a refusal with the code, with a reason of its own.
func refused(t testing.TB, err error, want vm.Code) *vm.Refusal {
	t.Helper()
	var r *vm.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is no refusal, want code %s", err, want)
	}
	if r.Code != want || r.Reason == "" {
		t.Fatalf("refused with %s (%v), want %s", r.Code, err, want)
	}
	return r
}

// certificates reads a PEM bundle.
func certificates(t testing.TB, chain []byte) []*x509.Certificate {
	t.Helper()
	certs, err := pki.ParsePEM("chain", chain)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// parsed reads the two documents of TDX collateral, without their signatures.
func parsed(t testing.TB, c *vm.Collateral) (info collateral.TCBInfo, qe collateral.QEIdentity) {
	t.Helper()
	inner, _, err := collateral.Open(collateral.KeyTCBInfo, c.TCBInfo)
	if err != nil {
		t.Fatal(err)
	}
	if info, err = collateral.ParseTCBInfo(inner, collateral.IDTDX); err != nil {
		t.Fatal(err)
	}
	if inner, _, err = collateral.Open(collateral.KeyQEIdentity, c.QEIdentity); err != nil {
		t.Fatal(err)
	}
	if qe, err = collateral.ParseQEIdentity(inner, collateral.IDTDQE); err != nil {
		t.Fatal(err)
	}
	return info, qe
}

func revocations(t testing.TB, der []byte) *x509.RevocationList {
	t.Helper()
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// signDocument signs with the key of the bed's TCB signer: r ‖ s.
func signDocument(t testing.TB, b bed, document []byte) [64]byte {
	t.Helper()
	signature, err := b.pki.SignDocument(document)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}
