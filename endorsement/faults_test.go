package endorsement_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

type fault = endorsementtest.Fault

func faultStatus(status int) fault { return fault{Status: status} }

// What passes is tried again; what does not is said at once.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault fault
		code  vm.Code // "" when it works out in the end
		words string
		asked int // requests for the TCB info; 0: not counted
	}{
		{"500 twice", fault{Status: 500, Times: 2}, "", "", 3},
		{"502 for ever", fault{Status: 502}, vm.CodeUnavailable, "502", 4},
		{"429 once", fault{Status: 429, RetryAfter: "1", Times: 1}, "", "", 2},
		{"429 for an hour", fault{Status: 429, RetryAfter: "3600"}, vm.CodeUnavailable, "429", 1},
		{"404", fault{Status: 404}, vm.CodeCollateral, "404", 1},
		{"slow once", fault{Delay: 2 * time.Second, Times: 1}, "", "", 2},
		{"cut once", fault{Cut: true, Times: 1}, "", "", 2},
		{"cut for ever", fault{Cut: true}, vm.CodeUnavailable, "cut", 4},
		{"page", fault{Page: true}, vm.CodeUnavailable, "web page", 1},
		{"huge", fault{Huge: 1 << 30}, vm.CodeUnavailable, "more than", 1},
		{"huge header", fault{Head: 1 << 20}, vm.CodeUnavailable, "headers exceeded", 1},
		{"loop", fault{Loop: true}, vm.CodeUnavailable, "redirects", 0},
		{"redirect to a file", fault{To: "file:///etc/passwd"}, vm.CodeUnavailable, "redirected", 1},
		{"empty", fault{Body: []byte{}}, vm.CodeMalformed, "0 bytes", 1},
		{"other JSON", fault{Body: []byte(`{"a":1}`)}, vm.CodeMalformed, "json", 1},
		{"no chain", fault{Drop: "TCB-Info-Issuer-Chain"}, vm.CodeMalformed, "Issuer-Chain", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.options.Client.Timeout = time.Second
			tt.fault.Path = "/tcb?"
			b.Fail(tt.fault)
			ev := vm.Evidence{Quote: quote(t)}
			err := endorsement.Complete(context.Background(), &ev, b.options)
			if tt.code == "" && err != nil {
				t.Errorf("refused: %v", err)
			} else if tt.code != "" {
				refused(t, err, tt.code, tt.words, "TCB info of "+fmspc)
			}
			if n := b.Asked("/tcb?"); tt.asked != 0 && n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// An endless answer is cut off, not collected.
func TestK8_HugeAnswers(t *testing.T) {
	b := newBed(t)
	b.Fail(fault{Huge: 1 << 30})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ev := vm.Evidence{Quote: quote(t)}
	err := endorsement.Complete(context.Background(), &ev, b.options)
	runtime.ReadMemStats(&after)
	refused(t, err, vm.CodeUnavailable, "more than")
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("allocated %d bytes over answers that are too large", grown)
	}
}

// A host that is down is not asked for each object as if nothing had happened.
func TestADeadHostIsSpared(t *testing.T) {
	b := newBed(t)
	b.Fail(faultStatus(503))
	b.options.Client.Pause = 20 * time.Millisecond
	for range 5 {
		ev := vm.Evidence{Quote: quote(t)}
		refused(t, endorsement.Complete(context.Background(), &ev, b.options), vm.CodeUnavailable)
	}
	if n := b.Asked(""); n > 40 {
		t.Errorf("asked %d times in five attempts", n)
	}
}

// A mirror that fails is followed by the next one.
func TestTheNextServiceIsAsked(t *testing.T) {
	b := newBed(t)
	b.options.Addresses.Intel = []string{"http://127.0.0.1:1", b.URL}
	if ev := complete(t, b.options); ev.Collateral == nil {
		t.Error("no collateral")
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	b := newBed(t)
	b.Fail(fault{Delay: time.Minute})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	ev := vm.Evidence{Quote: quote(t)}
	err := endorsement.Complete(ctx, &ev, b.options)
	refused(t, err, vm.CodeUnavailable, "deadline")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// A PCCS that has nothing newer than the cache takes nothing back, and what is
// at hand is not asked about while it is fresh.
func TestALaggingServiceTakesNothingBack(t *testing.T) {
	now := time.Now()
	s, pki, ev := bedAt(t, now, evaluation(18), nil)
	o := newBed(t).options
	o.Addresses, o.Time = s.Addresses(), now
	find := func() []byte {
		t.Helper()
		ev.Collateral = nil
		if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
			t.Fatal(err)
		}
		return ev.Collateral.TCBInfo
	}
	first := find()

	plan := emulator.DefaultPlan(now.AddDate(0, 0, -3))
	evaluation(17)(&plan)
	older, err := pki.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	s.PutIntel("tdx", "de7e10000000", "platform", "", older)
	for _, day := range []int{1, 8, 24} { // fresh; looked at a week ago; near its end
		o.Time = now.AddDate(0, 0, day)
		if got := find(); !bytes.Equal(got, first) {
			t.Errorf("day %d: an older TCB info replaced the newer one", day)
		}
	}
	if n := s.Asked("/tcb?"); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
	o.Refresh = true
	if got := find(); bytes.Equal(got, first) {
		t.Error("Refresh did not take what the service has")
	}
}

// A verdict about the past uses what was kept from then, though services have
// something newer, and keeps using it.
func TestThePastIsJudgedByWhatWasKept(t *testing.T) {
	b := newBed(t)
	first := complete(t, b.options)
	b.PutIntel("tdx", fmspc, "platform", "", older(t))
	o := b.options
	for _, at := range []time.Time{july.AddDate(0, 0, 15), july} {
		o.Time = at
		if again := complete(t, o); !bytes.Equal(first.Collateral.TCBInfo, again.Collateral.TCBInfo) {
			t.Error("the TCB info of then was replaced")
		}
	}
	if n := b.Asked("/tcb?"); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}
