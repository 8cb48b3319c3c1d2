package verifiers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// bed is a development PKI that can sign anything.
type bed struct{ pki *emulator.PKI }

func newBed(t testing.TB) bed {
	t.Helper()
	pki, err := emulator.NewPKI(now)
	if err != nil {
		t.Fatal(err)
	}
	return bed{pki}
}

// make makes evidence that all verifiers take: a version 4 quote, and the
// FMSPC in the lower case that go-tdx-guest wants. plan and forge, which may be
// nil, change what is signed.
func (b bed) make(t testing.TB, plan func(*emulator.Plan), forge func(*tdx.Quote)) evidence {
	t.Helper()
	machine, err := emulator.New(b.pki, vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := machine.Quote([64]byte{42})
	if err != nil {
		t.Fatal(err)
	}
	if forge != nil {
		q, err := tdx.Decode(ev.Quote)
		if err != nil {
			t.Fatal(err)
		}
		forge(&q)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.pki.SignQuote(&q, key); err != nil {
			t.Fatal(err)
		}
		ev.Quote = tdx.Encode(q)
	}
	said := emulator.DefaultPlan(now)
	if plan != nil {
		plan(&said)
	}
	c, err := b.pki.Issue(said)
	if err != nil {
		t.Fatal(err)
	}
	inner, _, err := collateral.Open(collateral.KeyTCBInfo, c.TCBInfo)
	if err != nil {
		t.Fatal(err)
	}
	inner = bytes.Replace(inner, []byte(`"DE7E10000000"`), []byte(`"de7e10000000"`), 1)
	c.TCBInfo = collateral.Seal(collateral.KeyTCBInfo, inner, b.sign(t, inner))
	return evidence{ev.Quote, c, b.pki.Root.Cert, now}
}

// sign signs with the key of the TCB signer: r ‖ s.
func (b bed) sign(t testing.TB, document []byte) [64]byte {
	t.Helper()
	signature, err := b.pki.SignDocument(document)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}
