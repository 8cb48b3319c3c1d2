package endorsement

import (
	"context"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Complete fills in what evidence lacks to be judged. What it carries stays,
// unless it has expired and o.Renew asks for new. The error wraps a
// *vm.Refusal; what was found until then is filled in.
func Complete(ctx context.Context, ev *vm.Evidence, o Options) error {
	f := o.finder()
	var cpu, gpu error
	if ev.TEE == vm.SNP {
		cpu = f.completeAMD(ctx, ev)
	} else {
		cpu = f.completeIntel(ctx, ev)
	}
	if ev.GPU != nil {
		gpu = f.completeGPU(ctx, ev)
	}
	return errors.Join(cpu, gpu)
}

// Early finds what the next TCB recovery will say about the platform of ev:
// nil, when none is announced, or when the platform's vendor has no such thing.
func Early(ctx context.Context, ev vm.Evidence, o Options) (*vm.Collateral, error) {
	if ev.TEE == vm.SNP {
		return nil, nil
	}
	p, err := PlatformOf(ev.Quote)
	if err != nil {
		return nil, err
	}
	if ev.Collateral == nil || lacking(ev.Collateral) {
		return IntelEarly(ctx, p, o)
	}
	today, err := question{kind: KindTCBInfo, tee: p.TEE, fmspc: p.FMSPC}.describe(ev.Collateral.TCBInfo)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "collateral of the evidence: %v", err)
	}
	early, err := o.finder().levels(ctx, p, updateEarly)
	if err != nil || early.tcb.Facts.Evaluation <= today.Evaluation {
		return nil, err
	}
	c := *ev.Collateral // what is revoked is so under any evaluation
	c.TCBInfo, c.TCBInfoChain, c.QEIdentity, c.QEIdentityChain = early.tcb.Body, early.tcb.Chain, early.qe.Body, early.qe.Chain
	return &c, nil
}

func (f *finder) completeIntel(ctx context.Context, ev *vm.Evidence) error {
	have := ev.Collateral
	if have != nil && !lacking(have) && !f.Renew {
		return nil
	}
	p, err := PlatformOf(ev.Quote)
	if err != nil {
		return err
	}
	if have == nil || f.Renew && f.ended(p.TEE, have) {
		found, err := f.intel(ctx, p, "")
		if err == nil {
			ev.Collateral = found
		}
		return err
	}
	if !lacking(have) {
		return nil
	}
	found, err := f.fillIn(ctx, p, *have)
	if err == nil {
		ev.Collateral = found
	}
	return err
}

// lacking reports whether a part is missing.
func lacking(c *vm.Collateral) bool {
	for _, part := range [][]byte{c.PCKCRL, c.PCKCRLChain, c.RootCACRL, c.TCBInfo, c.TCBInfoChain, c.QEIdentity, c.QEIdentityChain} {
		if len(part) == 0 {
			return true
		}
	}
	return false
}

// fillIn finds the missing parts of c. An object and its issuer chain come
// together; TCB info and QE identity are of one evaluation.
func (f *finder) fillIn(ctx context.Context, p IntelPlatform, c vm.Collateral) (*vm.Collateral, error) {
	if len(c.PCKCRL) == 0 || len(c.PCKCRLChain) == 0 {
		x, err := f.obtain(ctx, f.askPCKCRL(p))
		if err != nil {
			return nil, err
		}
		c.PCKCRL, c.PCKCRLChain = x.Body, x.Chain
	}
	if len(c.RootCACRL) == 0 {
		x, err := f.obtain(ctx, f.askRootCRL(p))
		if err != nil {
			return nil, err
		}
		c.RootCACRL = x.Body
	}
	noTCB, noQE := len(c.TCBInfo) == 0 || len(c.TCBInfoChain) == 0, len(c.QEIdentity) == 0 || len(c.QEIdentityChain) == 0
	if !noTCB && !noQE {
		return &c, nil
	}
	// The evaluation that is there decides which one is asked for.
	update := ""
	var there Facts
	var err error
	switch {
	case !noQE:
		there, err = question{kind: KindQEIdentity, tee: p.TEE}.describe(c.QEIdentity)
	case !noTCB:
		there, err = question{kind: KindTCBInfo, tee: p.TEE}.describe(c.TCBInfo)
	}
	if err == nil && there.Evaluation > 0 {
		update = fmt.Sprint(there.Evaluation)
	}
	l, err := f.levelsFor(ctx, p, update, noTCB, noQE)
	if err != nil {
		return nil, err
	}
	if noTCB {
		c.TCBInfo, c.TCBInfoChain = l.tcb.Body, l.tcb.Chain
	}
	if noQE {
		c.QEIdentity, c.QEIdentityChain = l.qe.Body, l.qe.Chain
	}
	return &c, nil
}

// levelsFor finds both, or the one that is missing: first as it counts today,
// and of exactly the wanted evaluation if that is another.
func (f *finder) levelsFor(ctx context.Context, p IntelPlatform, evaluation string, tcb, qe bool) (l levels, err error) {
	if tcb && qe {
		return f.levels(ctx, p, "")
	}
	ask, to := f.askQEIdentity, &l.qe
	if tcb {
		ask, to = f.askTCBInfo, &l.tcb
	}
	if *to, err = f.obtain(ctx, ask(p, "")); err != nil {
		return l, err
	}
	if evaluation != "" && fmt.Sprint(to.Facts.Evaluation) != evaluation {
		*to, err = f.obtain(ctx, ask(p, evaluation))
	}
	return l, err
}

// ended reports whether a part of c is past its next update, or unreadable.
func (f *finder) ended(tee string, c *vm.Collateral) bool {
	for _, part := range []struct {
		kind string
		body []byte
	}{{KindPCKCRL, c.PCKCRL}, {KindRootCRL, c.RootCACRL}, {KindTCBInfo, c.TCBInfo}, {KindQEIdentity, c.QEIdentity}} {
		facts, err := question{kind: part.kind, tee: tee}.describe(part.body)
		if err != nil || facts.Expired(f.now) {
			return true
		}
	}
	return false
}
