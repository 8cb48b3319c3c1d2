package endorsement_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func roots(certs ...*x509.Certificate) []*x509.Certificate { return certs }

// earlyBed is a machine below a development root, whose services say of it
// what plans say: what counts today, and what will.
func earlyBed(t *testing.T, today, early func(*emulator.Plan)) (*endorsementtest.Services, *emulator.PKI, vm.Evidence) {
	t.Helper()
	return bedAt(t, july, today, early)
}

func bedAt(t *testing.T, at time.Time, today, early func(*emulator.Plan)) (*endorsementtest.Services, *emulator.PKI, vm.Evidence) {
	t.Helper()
	pki, err := emulator.NewPKI(at)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := emulator.New(pki, vm.Measurement{MRTD: vm.Register{1}})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := machine.Quote([64]byte{42})
	if err != nil {
		t.Fatal(err)
	}
	ev.Collateral = nil
	s := endorsementtest.Start(t)
	platform := hex.EncodeToString(pki.Platform.FMSPC[:])
	for choice, change := range map[string]func(*emulator.Plan){"": today, "update=early": early} {
		if change == nil {
			continue
		}
		plan := emulator.DefaultPlan(at)
		change(&plan)
		c, err := pki.Issue(plan)
		if err != nil {
			t.Fatal(err)
		}
		s.PutIntel("tdx", platform, "platform", choice, c)
	}
	return s, pki, ev
}

func evaluation(n int) func(*emulator.Plan) {
	return func(p *emulator.Plan) {
		p.TCBInfo.TCBEvaluationDataNumber, p.QEIdentity.TCBEvaluationDataNumber = n, n
	}
}

// A machine that is up to date today and will not be after the next TCB
// recovery: the verdict holds, and says so.
func TestEarlyWarning(t *testing.T) {
	s, pki, ev := earlyBed(t, evaluation(17), func(p *emulator.Plan) {
		evaluation(18)(p)
		demand := p.TCBInfo.TCBLevels[0]
		demand.TCB.PCESVN++ // the machine has one less
		old := p.TCBInfo.TCBLevels[0]
		old.TCBStatus, old.AdvisoryIDs = "OutOfDate", []string{"INTEL-SA-09999"}
		p.TCBInfo.TCBLevels = append(p.TCBInfo.TCBLevels[:0:0], demand, old)
	})
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	early, err := endorsement.Early(context.Background(), ev, o)
	if err != nil || early == nil {
		t.Fatalf("early set %v, %v", early, err)
	}
	verdict, err := attest.Verify(ev, attest.Options{Time: july, Roots: roots(pki.Root.Cert), Early: early})
	if err != nil {
		t.Fatal(err)
	}
	if verdict.TCBStatus != "UpToDate" || verdict.Early == nil || verdict.Early.TCBStatus != "OutOfDate" || verdict.Early.Evaluation != 18 ||
		len(verdict.Early.Advisories) != 1 {
		t.Errorf("status %s, outlook %+v", verdict.TCBStatus, verdict.Early)
	}
}

func TestEarlyWithoutNews(t *testing.T) {
	s, _, ev := earlyBed(t, evaluation(18), evaluation(18))
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	if early, err := endorsement.Early(context.Background(), ev, o); early != nil || err != nil {
		t.Errorf("early set %v, %v where none is announced", early, err)
	}
	if early, err := endorsement.Early(context.Background(), vm.Evidence{TEE: vm.SNP}, o); early != nil || err != nil {
		t.Errorf("early set %v, %v of an AMD machine", early, err)
	}
}

func TestEarlyWithoutService(t *testing.T) {
	s, _, ev := earlyBed(t, evaluation(18), nil)
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	_, err := endorsement.Early(context.Background(), ev, o)
	refused(t, err, vm.CodeCollateral)
}

// TCB info and QE identity at hand are of different evaluations, as after a
// recovery between two visits: both are asked for again.
func TestMixedEvaluationsAreAskedForAgain(t *testing.T) {
	s, pki, ev := earlyBed(t, evaluation(17), nil)
	b := newBed(t)
	o := b.options
	o.Addresses = s.Addresses()
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	platform := hex.EncodeToString(pki.Platform.FMSPC[:])
	plan := emulator.DefaultPlan(july)
	evaluation(18)(&plan)
	newer, err := pki.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	s.PutIntel("tdx", platform, "platform", "", newer)
	if err := b.cache.Remove("intel/tdx/qe/identity"); err != nil {
		t.Fatal(err)
	}
	ev.Collateral = nil
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Verify(ev, attest.Options{Time: july, Roots: roots(pki.Root.Cert), Policy: attest.Policy{MinEvaluation: 18}}); err != nil {
		t.Error(err)
	}
}

// The service itself is between two evaluations: the lower one exists for both
// and is asked for by its number.
func TestServiceBetweenEvaluations(t *testing.T) {
	s, pki, ev := earlyBed(t, evaluation(17), nil)
	platform := hex.EncodeToString(pki.Platform.FMSPC[:])
	issue := func(change func(*emulator.Plan)) vm.Collateral {
		plan := emulator.DefaultPlan(july)
		change(&plan)
		c, err := pki.Issue(plan)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.PutIntel("tdx", platform, "platform", "tcbEvaluationDataNumber=17", issue(evaluation(17)))
	s.PutIntel("tdx", platform, "platform", "", issue(func(p *emulator.Plan) { evaluation(17)(p); p.TCBInfo.TCBEvaluationDataNumber = 18 }))
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Verify(ev, attest.Options{Time: july, Roots: roots(pki.Root.Cert)}); err != nil {
		t.Error(err)
	}
}

// SGX quotes have paths, identities and levels of their own.
func TestSGX(t *testing.T) {
	quote := vectors.Read(t, "dcap-qvl/sample/sgx_quote")
	p, err := endorsement.PlatformOf(quote)
	if err != nil || p.TEE != "sgx" || p.FMSPC != "00a067110000" {
		t.Fatalf("platform %+v, %v", p, err)
	}
	s := endorsementtest.Start(t)
	s.PutIntel("sgx", p.FMSPC, p.CA, "", realCollateral(t, "sgx_quote_collateral.json"))
	ev := vm.Evidence{TEE: vm.SGX, Quote: quote}
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	policy := attest.Policy{Accept: []string{"ConfigurationAndSWHardeningNeeded"}}
	if _, err := attest.Verify(ev, attest.Options{Time: july, Policy: policy}); err != nil {
		t.Error(err)
	}
}
