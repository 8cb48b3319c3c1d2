package attest

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

const days = 24 * time.Hour

// behind makes a plan in which the emulator's platform misses levels of the
// given dates, newest first, and has the given status.
func behind(status collateral.Status, advisories []string, missed ...time.Time) func(*emulator.Plan) {
	return func(p *emulator.Plan) {
		has := p.TCBInfo.TCBLevels[0]
		has.TCBDate = now.AddDate(-3, 0, 0)
		has.TCBStatus, has.AdvisoryIDs = status, advisories
		p.TCBInfo.TCBLevels = nil
		for i, date := range missed {
			level := has
			level.TCB.SGX = append([]collateral.Component{{SVN: 90 - i, Category: "BIOS", Type: "Early Microcode Update"}}, has.TCB.SGX[1:]...)
			level.TCBDate, level.TCBStatus, level.AdvisoryIDs = date, collateral.OutOfDate, nil
			if i == 0 {
				level.TCBStatus = collateral.UpToDate
			}
			p.TCBInfo.TCBLevels = append(p.TCBInfo.TCBLevels, level)
		}
		p.TCBInfo.TCBLevels = append(p.TCBInfo.TCBLevels, has)
	}
}

// TestK7_Leniency: what a policy tolerates, and exactly that.
func TestK7_Leniency(t *testing.T) {
	ago := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	module := func(status collateral.Status, date time.Time) func(*emulator.Plan) {
		return func(p *emulator.Plan) {
			levels := &p.TCBInfo.TDXModuleIdentities[0].TCBLevels
			old := (*levels)[0]
			old.TCBStatus = status
			(*levels)[0].TCB.ISVSVN, (*levels)[0].TCBDate = 14, date
			*levels = append(*levels, old)
		}
	}
	enclave := func(status collateral.Status, date time.Time) func(*emulator.Plan) {
		return func(p *emulator.Plan) {
			levels := &p.QEIdentity.TCBLevels
			old := (*levels)[0]
			old.TCBStatus = status
			(*levels)[0].TCB.ISVSVN, (*levels)[0].TCBDate = 14, date
			*levels = append(*levels, old)
		}
	}
	both := func(plans ...func(*emulator.Plan)) func(*emulator.Plan) {
		return func(p *emulator.Plan) {
			for _, plan := range plans {
				plan(p)
			}
		}
	}
	two := []string{"INTEL-SA-00001", "INTEL-SA-00002"}
	for _, row := range []struct {
		name   string
		plan   func(*emulator.Plan)
		policy Policy
		want   string    // status, or a code
		until  time.Time // of the verdict; zero: that of the collateral
	}{
		{"no grace", behind("OutOfDate", nil, ago(10)), Policy{}, "tcb-not-accepted", time.Time{}},
		{"in grace", behind("OutOfDate", nil, ago(10)), Policy{Grace: 20 * days}, "OutOfDate", ago(-10)},
		{"last second of grace", behind("OutOfDate", nil, ago(20)), Policy{Grace: 20 * days}, "OutOfDate", now},
		{"grace is over", behind("OutOfDate", nil, ago(20).Add(-time.Second)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"grace longer than the collateral", behind("OutOfDate", nil, ago(10)), Policy{Grace: 200 * days}, "OutOfDate", time.Time{}},
		{"an older level is missed too", behind("OutOfDate", nil, ago(10), ago(300)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"module in grace", module("OutOfDate", ago(5)), Policy{Grace: 20 * days}, "OutOfDate", ago(-15)},
		{"module over", module("OutOfDate", ago(50)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"enclave in grace", enclave("OutOfDate", ago(7)), Policy{Grace: 20 * days}, "OutOfDate", ago(-13)},
		{"enclave revoked", enclave("Revoked", ago(7)), Policy{Grace: 20 * days, Advisories: two}, "tcb-not-accepted", time.Time{}},
		{"enclave in another state counts as out of date", enclave("SWHardeningNeeded", ago(7)), Policy{Accept: []string{"UpToDate", "SWHardeningNeeded"}}, "tcb-not-accepted", time.Time{}},
		{"module and platform, both in grace", both(module("OutOfDate", ago(5)), behind("OutOfDate", nil, ago(10))), Policy{Grace: 20 * days}, "OutOfDate", ago(-10)},
		{"module in grace, platform over", both(module("OutOfDate", ago(5)), behind("OutOfDate", nil, ago(30))), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"module in grace, platform needs hardening", both(module("OutOfDate", ago(5)), behind("SWHardeningNeeded", nil)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"grace is not for configuration", behind("OutOfDateConfigurationNeeded", nil, ago(10)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"unless that is accepted", behind("OutOfDateConfigurationNeeded", nil, ago(10)), Policy{Grace: 20 * days, Accept: []string{"UpToDate", "ConfigurationNeeded"}}, "OutOfDateConfigurationNeeded", ago(-10)},
		{"grace is not for Revoked", behind("Revoked", nil, ago(10)), Policy{Grace: 20 * days}, "tcb-not-accepted", time.Time{}},
		{"advisories accepted", behind("SWHardeningNeeded", two), Policy{Advisories: append(two, "INTEL-SA-00003")}, "SWHardeningNeeded", time.Time{}},
		{"one advisory more", behind("SWHardeningNeeded", two), Policy{Advisories: two[:1]}, "tcb-not-accepted", time.Time{}},
		{"a status without advisories", behind("ConfigurationNeeded", nil), Policy{Advisories: two}, "tcb-not-accepted", time.Time{}},
		{"Revoked with advisories", behind("Revoked", two), Policy{Advisories: two}, "tcb-not-accepted", time.Time{}},
		{"advisories for one, grace for the other", both(module("OutOfDate", ago(5)), behind("SWHardeningNeeded", two)), Policy{Grace: 20 * days, Advisories: two}, "OutOfDate", ago(-15)},
		{"evaluation new enough", func(*emulator.Plan) {}, Policy{MinEvaluation: 1}, "UpToDate", time.Time{}},
		{"evaluation too old", func(*emulator.Plan) {}, Policy{MinEvaluation: 2}, "collateral", time.Time{}},
		{"grace without end", func(*emulator.Plan) {}, Policy{Grace: 1 << 62}, "invalid", time.Time{}},
		{"negative grace", func(*emulator.Plan) {}, Policy{Grace: -1}, "invalid", time.Time{}},
		{"negative lateness", func(*emulator.Plan) {}, Policy{StaleCollateral: -1}, "invalid", time.Time{}},
		{"negative evaluation", func(*emulator.Plan) {}, Policy{MinEvaluation: -1}, "invalid", time.Time{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			b.issue(t, &ev, row.plan)
			b.options.Policy = row.policy
			verdict, err := bothWays(t, ev, b.options)
			found := verdict.TCBStatus
			if err != nil {
				found = string(vm.CodeOf(err))
			}
			if found != row.want {
				t.Fatalf("verdict %s (%v), want %s", found, err, row.want)
			}
			if err != nil {
				return
			}
			until := row.until
			if until.IsZero() {
				until = emulator.DefaultPlan(now).To
			}
			if !verdict.ValidUntil.Equal(until) {
				t.Errorf("valid until %v, want %v", verdict.ValidUntil, until)
			}
			b.options.Time = verdict.ValidUntil.Add(time.Second)
			if _, err := bothWays(t, ev, b.options); err == nil {
				t.Error("accepted after its validity")
			}
		})
	}
}

// TestK7_LateCollateral: an outage of Intel's service is survived for as long
// as the policy says, and the verdict says so.
func TestK7_LateCollateral(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	end := emulator.DefaultPlan(now).To
	for _, row := range []struct {
		name  string
		at    time.Time
		stale time.Duration
		want  vm.Code
		late  bool
	}{
		{"on time", end, 0, "", false},
		{"on time, with room", end, 10 * days, "", false},
		{"late", end.Add(time.Second), 0, vm.CodeExpired, false},
		{"late and tolerated", end.Add(time.Second), 10 * days, "", true},
		{"last moment", end.Add(10 * days), 10 * days, "", true},
		{"too late", end.Add(10*days + time.Second), 10 * days, vm.CodeExpired, false},
		{"before it begins", emulator.DefaultPlan(now).From.Add(-time.Second), 10 * days, vm.CodeExpired, false},
		{"certificates end on time", b.pki.PCK.Cert.NotAfter.Add(time.Second), maxLeniency, vm.CodeExpired, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.options.Time, b.options.Policy.StaleCollateral = row.at, row.stale
			verdict, err := bothWays(t, ev, b.options)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if verdict.Stale != row.late || !verdict.ValidUntil.Equal(end.Add(row.stale)) {
				t.Errorf("stale %v, valid until %v, want %v and %v", verdict.Stale, verdict.ValidUntil, row.late, end.Add(row.stale))
			}
		})
	}
}

// TestHardware: only the machines that are named.
func TestHardware(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	id := hexOf(b.pki.Platform.PlatformInstance[:])
	for _, row := range []struct {
		name     string
		hardware []string
		want     vm.Code
	}{
		{"any", nil, ""},
		{"this one", []string{"00ff", id}, ""},
		{"in capitals", []string{strings.ToUpper(id)}, ""},
		{"another", []string{hexOf(b.pki.Platform.PPID[:])}, vm.CodeHardware},
		{"a part of its id", []string{id[:16]}, vm.CodeHardware},
		{"not hexadecimal", []string{"server-1"}, vm.CodeInvalid},
		{"empty", []string{""}, vm.CodeInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.options.Policy.Hardware = row.hardware
			verdict, err := bothWays(t, ev, b.options)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil || verdict.HardwareID != id {
				t.Errorf("hardware %q, %v, want %q", verdict.HardwareID, err, id)
			}
		})
	}
}

// TestHardwareOfIntel: a platform of several packages has an instance id, one
// of a single package the pseudonym in its PCK certificate. Both were read
// with openssl asn1parse.
func TestHardwareOfIntel(t *testing.T) {
	ev, o := genuine(t)
	if !haveVectors() {
		t.Skip("needs a genuine quote")
	}
	if verdict, err := bothWays(t, ev, o); err != nil || verdict.HardwareID != "07828474603e7019dc930775ffe8cdd2" {
		t.Errorf("hardware %q, %v", verdict.HardwareID, err)
	}
	sgx, o := genuineSGX(t)
	if verdict, err := bothWays(t, sgx, o); err != nil || verdict.HardwareID != "d04ec06d4e6d92dc90d0ad3cf5ee2ddf" {
		t.Errorf("hardware %q, %v", verdict.HardwareID, err)
	}
}

// TestXFAM: the fixed bits are on, unknown ones off unless named.
func TestXFAM(t *testing.T) {
	for _, row := range []struct {
		name   string
		xfam   uint64
		policy uint64
		want   vm.Code
	}{
		{"least", tdx.XFAMFixed1, 0, ""},
		{"all that is known", tdx.XFAMKnown, 0, ""},
		{"x87 off", tdx.XFAMKnown &^ 1, 0, vm.CodeAttributes},
		{"SSE off", tdx.XFAMKnown &^ 2, 0, vm.CodeAttributes},
		{"fixed bits off, whatever the policy", 0, ^uint64(0), vm.CodeAttributes},
		{"APX, unknown", tdx.XFAMKnown | 1<<19, 0, vm.CodeAttributes},
		{"APX, named", tdx.XFAMKnown | 1<<19, 1 << 19, ""},
		{"APX, another named", tdx.XFAMKnown | 1<<19, 1 << 20, vm.CodeAttributes},
		{"highest bit", tdx.XFAMKnown | 1<<63, 0, vm.CodeAttributes},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			b.resign(t, &ev, func(q *tdx.Quote) { q.Body.XFAM = row.xfam })
			b.options.Policy.XFAM = row.policy
			verdict, err := bothWays(t, ev, b.options)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil || verdict.XFAM != row.xfam {
				t.Errorf("XFAM %#x, %v", verdict.XFAM, err)
			}
		})
	}
}

// TestModuleUpdatedSinceLaunch: a TDX 1.5 body has the module's version at the
// machine's launch and now. Both must be good enough.
func TestModuleUpdatedSinceLaunch(t *testing.T) {
	levels := func(p *emulator.Plan) {
		identity := &p.TCBInfo.TDXModuleIdentities[0]
		old := identity.TCBLevels[0]
		old.TCB.ISVSVN, old.TCBStatus, old.AdvisoryIDs = 11, collateral.OutOfDate, []string{"INTEL-SA-00009"}
		identity.TCBLevels = append(identity.TCBLevels, old)
	}
	for _, row := range []struct {
		name        string
		launch, now byte // SVN of the module
		major       byte // of the module now
		accept      []string
		want, hint  string
	}{
		{"not updated", 13, 13, 1, nil, "UpToDate", ""},
		{"updated to something newer", 13, 14, 1, nil, "UpToDate", ""},
		{"only the update is current", 11, 13, 1, nil, "tcb-not-accepted", "start the machine again"},
		{"only the launch is current", 13, 11, 1, nil, "tcb-not-accepted", "as updated since"},
		{"neither is", 11, 12, 1, nil, "tcb-not-accepted", "wants 13"},
		{"neither is, accepted", 11, 12, 1, []string{"OutOfDate"}, "OutOfDate", ""},
		{"the update is listed nowhere", 13, 10, 1, nil, "tcb-not-accepted", "wants 13"},
		{"the update is of an unknown version", 13, 13, 2, nil, "module-not-accepted", "fetch the collateral"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			b.issue(t, &ev, levels)
			b.resign(t, &ev, func(q *tdx.Quote) {
				q.Header.Version, q.BodyType = tdx.Version5, tdx.BodyTD15
				q.Body.TEETCBSVN[0] = row.launch
				q.Body.TEETCBSVN2 = q.Body.TEETCBSVN
				q.Body.TEETCBSVN2[0], q.Body.TEETCBSVN2[1] = row.now, row.major
			})
			b.options.Policy.Accept = row.accept
			verdict, err := bothWays(t, ev, b.options)
			found, hint := verdict.TCBStatus, ""
			if err != nil {
				r := err.(*vm.Refusal)
				found, hint = string(r.Code), r.Hint
			}
			if found != row.want || !strings.Contains(hint, row.hint) {
				t.Errorf("verdict %s, hint %q, want %s, %q", found, hint, row.want, row.hint)
			}
		})
	}
}

// TestEarly: what the next TCB recovery says is reported and decides nothing.
func TestEarly(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	plain, err := Verify(ev, b.options)
	if err != nil {
		t.Fatal(err)
	}
	early := func(plan func(*emulator.Plan)) *vm.Collateral {
		next := ev
		b.issue(t, &next, func(p *emulator.Plan) {
			p.TCBInfo.TCBEvaluationDataNumber, p.QEIdentity.TCBEvaluationDataNumber = 2, 2
			plan(p)
		})
		return next.Collateral
	}
	foreign := newBed(t).evidence(t).Collateral
	broken := *early(func(*emulator.Plan) {})
	broken.TCBInfo = bytes.Replace(broken.TCBInfo, []byte(`"TDX"`), []byte(`"SGX"`), 1)
	for _, row := range []struct {
		name  string
		early *vm.Collateral
		want  *vm.Outlook
	}{
		{"none", nil, nil},
		{"nothing changes", early(func(*emulator.Plan) {}), &vm.Outlook{TCBStatus: "UpToDate", Evaluation: 2}},
		{"out of date", early(behind("OutOfDate", []string{"INTEL-SA-00009"}, now)), &vm.Outlook{TCBStatus: "OutOfDate", Advisories: []string{"INTEL-SA-00009"}, Evaluation: 2}},
		{"revoked", early(behind("Revoked", nil)), &vm.Outlook{TCBStatus: "Revoked", Evaluation: 2}},
		{"no level left", early(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.PCESVN = 99 }), &vm.Outlook{TCBStatus: "not listed", Evaluation: 2}},
		{"of another PKI", foreign, nil},
		{"changed", &broken, nil},
		{"expired", early(func(p *emulator.Plan) { p.To = now.Add(-time.Second) }), nil},
		{"empty", &vm.Collateral{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.options.Early = row.early
			verdict, err := bothWays(t, ev, b.options)
			if err != nil {
				t.Fatal(err)
			}
			switch found := verdict.Early; {
			case (found == nil) != (row.want == nil):
				t.Errorf("outlook %+v, want %+v", found, row.want)
			case found != nil && (found.TCBStatus != row.want.TCBStatus || found.Evaluation != row.want.Evaluation || strings.Join(found.Advisories, " ") != strings.Join(row.want.Advisories, " ")):
				t.Errorf("outlook %+v, want %+v", found, row.want)
			}
			if verdict.TCBStatus != plain.TCBStatus || !verdict.ValidUntil.Equal(plain.ValidUntil) {
				t.Errorf("the verdict became %s until %v", verdict.TCBStatus, verdict.ValidUntil)
			}
		})
	}
	b.options.Early = &vm.Collateral{TCBInfo: make([]byte, vm.MaxCollateralSize+1)}
	_, err = bothWays(t, ev, b.options)
	refused(t, err, vm.CodeTooLarge)
}
