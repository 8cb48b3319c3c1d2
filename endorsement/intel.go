package endorsement

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/secretvm/secretvm/vm"
)

// Intel finds the collateral of a platform.
func Intel(ctx context.Context, p IntelPlatform, o Options) (*vm.Collateral, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return o.finder().intel(ctx, p, "")
}

// IntelEarly finds the collateral of a platform as the next TCB recovery will
// have it. It is nil when Intel has announced none: then the early set is of
// the same evaluation as the one that counts.
func IntelEarly(ctx context.Context, p IntelPlatform, o Options) (*vm.Collateral, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	f := o.finder()
	standard, err := f.levels(ctx, p, "")
	if err != nil {
		return nil, err
	}
	early, err := f.levels(ctx, p, updateEarly)
	if err != nil {
		return nil, err
	}
	if early.tcb.Facts.Evaluation <= standard.tcb.Facts.Evaluation {
		return nil, nil
	}
	lists, err := f.lists(ctx, p)
	if err != nil {
		return nil, err
	}
	return join(early, lists), nil
}

func (f *finder) intel(ctx context.Context, p IntelPlatform, update string) (*vm.Collateral, error) {
	var l levels
	var r lists
	var g errgroup.Group // one failure does not keep the others from being found
	g.Go(func() (err error) { l, err = f.levels(ctx, p, update); return err })
	g.Go(func() (err error) { r, err = f.lists(ctx, p); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return join(l, r), nil
}

// levels are what Intel thinks of TCBs, lists what it has revoked.
type (
	levels struct{ tcb, qe Finding }
	lists  struct{ pck, root Finding }
)

func join(l levels, r lists) *vm.Collateral {
	return &vm.Collateral{
		PCKCRL: r.pck.Body, PCKCRLChain: r.pck.Chain, RootCACRL: r.root.Body,
		TCBInfo: l.tcb.Body, TCBInfoChain: l.tcb.Chain, QEIdentity: l.qe.Body, QEIdentityChain: l.qe.Chain,
	}
}

func (f *finder) lists(ctx context.Context, p IntelPlatform) (r lists, err error) {
	var g errgroup.Group
	g.Go(func() (err error) { r.pck, err = f.obtain(ctx, f.askPCKCRL(p)); return err })
	g.Go(func() (err error) { r.root, err = f.obtain(ctx, f.askRootCRL(p)); return err })
	return r, g.Wait()
}

// levels finds TCB info and QE identity of one evaluation: mixed ones are
// refused by a verifier, and what is at hand may be from two different weeks.
func (f *finder) levels(ctx context.Context, p IntelPlatform, update string) (l levels, err error) {
	if l, err = f.levelsOnce(ctx, p, update); err != nil || l.agree() || f.Offline {
		return l, err
	}
	f.Note("TCB info and QE identity are of evaluations %d and %d; asking again", l.tcb.Facts.Evaluation, l.qe.Facts.Evaluation)
	again := *f
	again.Refresh = true
	if l, err = again.levelsOnce(ctx, p, update); err != nil || l.agree() {
		return l, err
	}
	// The service is between two evaluations: the lower one exists for both.
	lower := strconv.Itoa(min(l.tcb.Facts.Evaluation, l.qe.Facts.Evaluation))
	l2, err := f.levelsOnce(ctx, p, lower)
	if err != nil {
		f.Note("%v", err)
		return l, nil // the verifier says what does not fit
	}
	return l2, nil
}

func (l levels) agree() bool { return l.tcb.Facts.Evaluation == l.qe.Facts.Evaluation }

func (f *finder) levelsOnce(ctx context.Context, p IntelPlatform, update string) (l levels, err error) {
	var g errgroup.Group
	g.Go(func() (err error) { l.tcb, err = f.obtain(ctx, f.askTCBInfo(p, update)); return err })
	g.Go(func() (err error) { l.qe, err = f.obtain(ctx, f.askQEIdentity(p, update)); return err })
	return l, g.Wait()
}

const maxIntel = vm.MaxCollateralSize

func (f *finder) askTCBInfo(p IntelPlatform, update string) ask {
	q := question{vendor: "Intel", kind: KindTCBInfo, tee: p.TEE, fmspc: p.FMSPC, update: update}
	return f.askIntel(p, q, "/"+p.TEE+"/certification/v4/tcb?fmspc="+p.FMSPC, "&", readTCBInfo)
}

func (f *finder) askQEIdentity(p IntelPlatform, update string) ask {
	q := question{vendor: "Intel", kind: KindQEIdentity, tee: p.TEE, update: update}
	return f.askIntel(p, q, "/"+p.TEE+"/certification/v4/qe/identity", "?", readQEIdentity)
}

// askIntel puts a question about TCB levels; sep joins the choice of the
// evaluation to path.
func (f *finder) askIntel(p IntelPlatform, q question, path, sep string, read reader) ask {
	switch q.update {
	case "": // what counts today is every service's default
	case updateEarly:
		path += sep + "update=early"
	default:
		path += sep + "tcbEvaluationDataNumber=" + q.update
	}
	a := ask{question: q, limit: maxIntel, read: read, hint: intelHint(p)}
	for _, base := range f.Addresses.Intel {
		a.urls = append(a.urls, base+path)
	}
	return a
}

func (f *finder) askPCKCRL(p IntelPlatform) ask {
	a := ask{
		question: question{vendor: "Intel", kind: KindPCKCRL, ca: p.CA},
		limit:    maxIntel, read: readPCKCRL, hint: intelHint(p),
	}
	for _, base := range f.Addresses.Intel {
		a.urls = append(a.urls, base+"/sgx/certification/v4/pckcrl?ca="+p.CA+"&encoding=der")
	}
	return a
}

// askRootCRL asks a PCCS for its copy. Intel's own service has none: the CRL
// lies where the root certificate says. That address is fixed here, because
// one that comes with a quote is whatever its sender likes.
func (f *finder) askRootCRL(p IntelPlatform) ask {
	a := ask{
		question: question{vendor: "Intel", kind: KindRootCRL},
		limit:    maxIntel, read: readRootCRL, hint: intelHint(p),
	}
	a.urls = append(a.urls, f.Addresses.IntelRootCRL...)
	for _, base := range f.Addresses.Intel {
		switch {
		case len(f.Addresses.IntelRootCRL) > 0:
		case base == IntelPCS:
			a.urls = append(a.urls, IntelRootCRL)
		default:
			a.urls = append(a.urls, base+"/sgx/certification/v4/rootcacrl")
		}
	}
	return a
}

func intelHint(p IntelPlatform) string {
	return fmt.Sprintf("name a service that can be reached with --pccs, or on a connected machine run "+
		"`secretvm collateral fetch --tee %s --fmspc %s --ca %s -o collateral.zip` and pass --collateral collateral.zip", p.TEE, p.FMSPC, p.CA)
}
