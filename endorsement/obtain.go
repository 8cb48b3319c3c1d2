package endorsement

import (
	"context"
	"sync"
	"time"

	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/vm"
)

// Options say where to look. The zero value asks the vendors' own services and
// keeps nothing.
type Options struct {
	Addresses Addresses         // services; what is empty is the vendor's own
	Client    *transport.Client // nil: a new one
	Cache     *store.Folder     // nil: nothing is kept
	Archives  []*store.Archive  // carried here; looked into before the cache
	Offline   bool              // never use the network
	Refresh   bool              // ask the services although there is something fresh
	Renew     bool              // replace what evidence brings along, once it has expired
	Time      time.Time         // what the verdict will be about; zero: now
	Found     func(Finding)     // told of each object, one at a time
	Note      func(format string, args ...any)
}

// Finding is an object and how it was found.
type Finding struct {
	store.Entry
	Facts  Facts
	From   string // "cache", an archive's name, or the service's URL
	Outage error  // why there is no newer one, when the service failed
}

// finder is Options in use.
type finder struct {
	Options
	now time.Time
}

func (o Options) finder() *finder {
	f := &finder{Options: o, now: o.Time}
	if f.now.IsZero() {
		f.now = time.Now()
	}
	f.Addresses = DefaultAddresses().replacedBy(o.Addresses)
	// Questions are put at once; whoever listens hears one voice at a time.
	var one sync.Mutex
	note, found := o.Note, o.Found
	f.Note = func(format string, args ...any) {
		one.Lock()
		defer one.Unlock()
		if note != nil {
			note(format, args...)
		}
	}
	f.Found = func(x Finding) {
		one.Lock()
		defer one.Unlock()
		if found != nil {
			found(x)
		}
	}
	if f.Client == nil {
		f.Client = &transport.Client{Note: f.Note}
	}
	return f
}

// obtain finds the answer to a question: what is at hand while it is fresh,
// then what the services say, then what is at hand although it is not fresh.
func (f *finder) obtain(ctx context.Context, a ask) (Finding, error) {
	if err := a.check(); err != nil {
		return Finding{}, vm.Refuse(vm.CodeInvalid, "%v", err).Try("the name comes from the evidence or the command line, and is not of the form that the vendor uses")
	}
	hand, have := f.atHand(a.question)
	if have && (f.Offline || !f.Refresh && f.good(hand)) {
		return f.tell(hand), nil
	}
	if f.Offline {
		return Finding{}, vm.Refuse(vm.CodeCollateral, "%s of %s is not at hand, and asking for it was not allowed", a.kind, a.subject()).
			On("request", a.String(), "").Try(a.hint)
	}
	found, err := f.fetchWithin(ctx, a, have && !f.Refresh && hand.Facts.stage(f.now) == holding)
	switch {
	case err != nil && have:
		hand.Outage = err
		f.Note("%s of %s: using that of %s, for %v", a.kind, a.subject(), hand.Fetched.UTC().Format(time.DateOnly), err)
		return f.tell(hand), nil
	case err != nil:
		return Finding{}, err
	case have && !f.Refresh && f.better(hand, found):
		// A service that lags behind takes nothing back. (Refresh does.)
		f.Note("%s of %s: what is at hand fits better than that of %s", a.kind, a.subject(), withoutQuery(found.From))
		return f.tell(hand), nil
	}
	if f.Cache != nil {
		if err := f.Cache.Put(found.Entry); err != nil {
			f.Note("%v", err) // the answer is as good without being kept
		}
	}
	return f.tell(found), nil
}

// patience is how long a service may take to have something newer than what is
// at hand and holds. An outage then costs seconds, not a verdict.
const patience = 5 * time.Second

// fetchWithin asks the services: with one short try if there is no need.
func (f *finder) fetchWithin(ctx context.Context, a ask, spare bool) (Finding, error) {
	if spare {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
		a.tries = 1
	}
	return f.fetch(ctx, a)
}

func (f *finder) tell(x Finding) Finding {
	f.Found(x)
	return x
}

// good reports whether what is at hand need not be asked for again. Nobody has
// anything newer for a verdict about the past.
func (f *finder) good(x Finding) bool {
	past := time.Since(f.now) > 24*time.Hour
	return x.Facts.fresh(x.Fetched, f.now) || past && x.Facts.stage(f.now) == holding
}

// better reports whether a is a better answer than b: one that holds now before
// one that has ended, before one that is of the future; then the later one.
func (f *finder) better(a, b Finding) bool {
	if x, y := a.Facts.stage(f.now), b.Facts.stage(f.now); x != y {
		return x < y
	}
	if !a.Facts.Issued.Equal(b.Facts.Issued) {
		return a.Facts.Issued.After(b.Facts.Issued)
	}
	return a.Fetched.After(b.Fetched)
}

// atHand returns the best sound answer of the archives and the cache.
func (f *finder) atHand(q question) (best Finding, have bool) {
	look := func(a *store.Archive, from string) {
		e, err := a.Get(q.String())
		if err != nil {
			return
		}
		facts, err := q.describe(e.Body)
		if err != nil {
			return // damaged, or of an older form: as good as absent
		}
		if x := (Finding{Entry: e, Facts: facts, From: from}); !have || f.better(x, best) {
			best, have = x, true
		}
	}
	for _, a := range f.Archives {
		look(a, a.Name())
	}
	if f.Cache != nil {
		look(f.Cache.Archive, "cache")
	}
	return best, have
}
