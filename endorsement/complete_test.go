package endorsement_test

import (
	"context"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/vm"
)

// The whole path with a real quote: ask the services, keep, verify; then the
// services are gone, and verification goes on from the cache alone.
func TestFetchKeepVerifyOffline(t *testing.T) {
	b := newBed(t)
	ev := complete(t, b.options)
	verdict, err := attest.Verify(ev, attest.Options{Time: july})
	if err != nil {
		t.Fatal(err)
	}
	if verdict.TCBStatus != "UpToDate" || verdict.FMSPC == "" {
		t.Errorf("verdict %+v", verdict)
	}
	if n := b.Asked(""); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}

	offline := b.options
	offline.Addresses = endorsement.Addresses{Intel: []string{"http://127.0.0.1:1"}}
	for _, o := range []endorsement.Options{offline, {Cache: b.cache, Time: july, Offline: true}} {
		ev := complete(t, o)
		if _, err := attest.Verify(ev, attest.Options{Time: july}); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Asked(""); n != 4 {
		t.Errorf("%d requests after all, want 4: fresh entries are used without asking", n)
	}
}

func TestWhatEvidenceCarriesStays(t *testing.T) {
	b := newBed(t)
	carried := realCollateral(t, "tdx_quote_collateral.json")
	ev := vm.Evidence{Quote: quote(t), Collateral: &carried}
	o := b.options
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil || ev.Collateral != &carried {
		t.Fatalf("collateral was replaced (%v)", err)
	}
	old := older(t)
	ev.Collateral = &old
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil || ev.Collateral != &old || b.Asked("") != 0 {
		t.Fatalf("expired collateral was replaced unasked, or somebody was asked (%v)", err)
	}
	o.Renew = true
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Verify(ev, attest.Options{Time: july}); err != nil {
		t.Errorf("renewed evidence: %v", err)
	}
	ev.Collateral = &carried
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil || ev.Collateral != &carried {
		t.Errorf("sound collateral was renewed (%v)", err)
	}
}

func TestMissingPartsAreFilledIn(t *testing.T) {
	whole := realCollateral(t, "tdx_quote_collateral.json")
	for _, tt := range []struct {
		name   string
		remove func(*vm.Collateral)
		asked  int
	}{
		{"PCK CRL", func(c *vm.Collateral) { c.PCKCRL = nil }, 1},
		{"chain of the PCK CRL", func(c *vm.Collateral) { c.PCKCRLChain = nil }, 1},
		{"root CRL", func(c *vm.Collateral) { c.RootCACRL = nil }, 1},
		{"TCB info", func(c *vm.Collateral) { c.TCBInfo = nil }, 1},
		{"QE identity", func(c *vm.Collateral) { c.QEIdentity, c.QEIdentityChain = nil, nil }, 1},
		{"both", func(c *vm.Collateral) { c.QEIdentity, c.TCBInfo = nil, nil }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			c := whole
			tt.remove(&c)
			ev := vm.Evidence{Quote: quote(t), Collateral: &c}
			if err := endorsement.Complete(context.Background(), &ev, b.options); err != nil {
				t.Fatal(err)
			}
			if _, err := attest.Verify(ev, attest.Options{Time: july}); err != nil {
				t.Error(err)
			}
			if n := b.Asked(""); n != tt.asked {
				t.Errorf("%d requests, want %d", n, tt.asked)
			}
		})
	}
}

// An outage after the cache has aged: the old entries are handed out, and only
// a policy makes them good enough.
func TestStaleEntriesNeedAPolicy(t *testing.T) {
	b := newBed(t)
	complete(t, b.options)
	b.Fail(faultStatus(503))
	august := time.Date(2025, 8, 10, 0, 0, 0, 0, time.UTC) // three weeks after nextUpdate
	o := b.options
	o.Time = august
	var outages int
	o.Found = func(x endorsement.Finding) {
		if x.Outage != nil {
			outages++
		}
	}
	o.Client = hasty()
	ev := complete(t, o)
	if outages == 0 {
		t.Error("nobody was told of the outage")
	}
	_, err := attest.Verify(ev, attest.Options{Time: august})
	if vm.CodeOf(err) != vm.CodeExpired {
		t.Errorf("expired collateral: %v", err)
	}
	grace := attest.Policy{StaleCollateral: 30 * 24 * time.Hour}
	if _, err := attest.Verify(ev, attest.Options{Time: august, Policy: grace}); err != nil {
		t.Errorf("with grace: %v", err)
	}
}

func TestNothingAtHandAndNoNetwork(t *testing.T) {
	ev := vm.Evidence{Quote: quote(t)}
	err := endorsement.Complete(context.Background(), &ev, endorsement.Options{Offline: true})
	refused(t, err, vm.CodeCollateral, "not at hand")
	err = endorsement.Complete(context.Background(), &ev, endorsement.Options{
		Addresses: endorsement.Addresses{Intel: []string{"http://127.0.0.1:1"}}, Client: hasty(),
	})
	refused(t, err, vm.CodeUnavailable, "127.0.0.1:1")
}

// A renewal that fails takes nothing away.
func TestAFailedRenewalKeepsWhatCameAlong(t *testing.T) {
	b := newBed(t)
	b.Fail(faultStatus(503))
	b.options.Renew = true
	old := older(t)
	ev := vm.Evidence{Quote: quote(t), Collateral: &old}
	if err := endorsement.Complete(context.Background(), &ev, b.options); err == nil || ev.Collateral != &old {
		t.Errorf("collateral %p, %v", ev.Collateral, err)
	}
}

// While what is at hand still holds, an outage costs one try for each object.
func TestAnOutageCostsLittle(t *testing.T) {
	now := time.Now()
	s, _, ev := bedAt(t, now, evaluation(18), nil)
	o := newBed(t).options
	o.Addresses, o.Time = s.Addresses(), now
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	s.Fail(faultStatus(503))
	ev.Collateral = nil
	o.Time = now.AddDate(0, 0, 10)
	asked := s.Asked("")
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	if n := s.Asked("") - asked; n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
}
