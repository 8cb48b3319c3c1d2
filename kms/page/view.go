package page

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	council "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// chainView is what every page says of the key manager.
type chainView struct {
	Root   string // relative URL of the node's own root: "../../"
	ID     string
	Height int64
	Now    int64 // time of the newest block, Unix seconds: what the chain decides by
	Epochs []epochView
	Roots  []vm.Anchor // that evidence may end in
}

// epochView is one epoch's key.
type epochView struct {
	Number           uint64
	GroupKey         string // hex; empty: being made
	Threshold, Nodes int
	Unseen           []uint32 // nodes of which the chain has seen no evidence
}

// Insecure reports whether the chain accepts evidence that no processor's maker
// answers for.
func (c chainView) Insecure() bool {
	for _, r := range c.Roots {
		if r.Vendor == "" {
			return true
		}
	}
	return c.ID != "" && len(c.Roots) == 0
}

// Vendors are those whose roots evidence may end in, in the order of the roots;
// empty for one of nobody's.
func (c chainView) Vendors() (out []string) {
	for _, r := range c.Roots {
		if !slices.Contains(out, r.Vendor) {
			out = append(out, r.Vendor)
		}
	}
	return out
}

// party is who an account is.
type party struct {
	Address   string
	Council   *council.Council
	Threshold int // of the keys that sign together; 0: one key, or it is not known
	Keys      int
	Unknown   bool // it has not signed yet, and may be either
}

// Kind says in a few words what the account is.
func (p party) Kind() string {
	switch {
	case p.Council != nil:
		return fmt.Sprintf("a council: %d of %d members", p.Council.Threshold, len(p.Council.Members))
	case p.Threshold != 0:
		return fmt.Sprintf("several keys: %d of %d sign", p.Threshold, p.Keys)
	case p.Unknown:
		return "an account that has signed nothing yet"
	}
	return "one key"
}

// imageView is an image with the first of its platforms.
type imageView struct {
	types.Image
	First *types.Platform
	Now   int64
}

// Is is the image's state: active, pending or revoked.
func (i imageView) Is() string { return i.State(i.Now) }

// Config is the config that machines measure, without what differs between them;
// nil when the owner did not say.
func (i imageView) Config() *vm.Config {
	c, err := vm.ParseConfig(i.Template)
	if err != nil {
		return nil
	}
	return &c
}

// Registers are those that every machine of the image has, by name.
func (i imageView) Registers() []row {
	rows := []row{}
	add := func(name string, value []byte) {
		if len(value) != 0 {
			rows = append(rows, row{name, hex.EncodeToString(value)})
		}
	}
	if i.First != nil {
		add("MRTD", i.First.Mrtd)
		add("RTMR0", i.First.Rtmr0)
		add("Launch digest", i.First.Launch)
	}
	add("RTMR1", i.Rtmr1)
	add("RTMR2", i.Rtmr2)
	add("RTMR3 of the template", i.Rtmr3)
	add("Root file system", i.RootHash)
	return rows
}

// row is a name with a value.
type row struct{ Name, Value string }

// policyRows writes a policy in words.
func policyRows(p types.Policy) []row {
	hardware := "any processor"
	if p.Hardware != nil {
		hardware = "none: no machine gets keys"
		if len(p.Hardware.Ids) > 0 {
			hardware = strings.Join(p.Hardware.Ids, " ")
		}
	}
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	delay := "none: what is new counts at once"
	if p.UpgradeDelay > 0 {
		delay = span(p.UpgradeDelay)
	}
	evaluation := "any"
	if p.MinEvaluation > 0 {
		evaluation = fmt.Sprint(p.MinEvaluation)
	}
	age := "what the chain allows"
	if p.MaxEvidenceAge > 0 {
		age = "at most " + span(p.MaxEvidenceAge)
	}
	stale := "not accepted"
	if p.StaleCollateral > 0 {
		stale = "accepted for " + span(p.StaleCollateral)
	}
	return []row{
		{"Upgrade delay", delay},
		{"Platforms", strings.Join(append([]string{"UpToDate"}, p.TcbStatuses...), ", ")},
		{"Grace for updates", span(p.Grace)},
		{"Known weaknesses", or(strings.Join(p.Advisories, ", "), "none is accepted")},
		{"Processors", hardware},
		{"Intel's evaluation", evaluation},
		{"Age of evidence", age},
		{"Expired collateral", stale},
	}
}

// sealedView is what machines get encrypted.
type sealedView struct {
	Name             string // in words
	Current, Pending *types.Sealed
}

// part is one page of a list.
type part[T any] struct {
	Rows []T
	Next string // where the next page begins; empty: this is the last
}

// serviceView is the page of a service.
type serviceView struct {
	chainView
	types.Service
	types.Counters
	Owner    party
	Policy   []row
	Delay    uint64 // seconds, in force
	Pending  *types.PendingPolicy
	Images   []imageView // pending and active ones, and the newest revoked
	Sealed   []sealedView
	Grants   part[types.Grant]
	Refusals part[types.Refusal]
	Changes  part[types.Change]
	Machines part[types.Instance]
}

// Of counts the images in a state.
func (s serviceView) Of(state string) (n int) {
	for _, i := range s.Images {
		if i.Is() == state {
			n++
		}
	}
	return n
}

// Waiting are the images that were announced.
func (s serviceView) Waiting() (out []imageView) {
	for _, i := range s.Images {
		if i.Is() == types.StatePending {
			out = append(out, i)
		}
	}
	return out
}

// Announced reports whether anything waits for the upgrade delay.
func (s serviceView) Announced() bool {
	for _, c := range s.Sealed {
		if c.Pending != nil {
			return true
		}
	}
	return s.Pending != nil || len(s.Waiting()) > 0
}

// PendingRows are the rows of the announced policy that differ from today's.
func (s serviceView) PendingRows() (out []row) {
	for n, r := range policyRows(s.Pending.Policy) {
		if r != s.Policy[n] {
			out = append(out, r)
		}
	}
	return out
}

// listView is a page of all that there is of one kind.
type listView struct {
	chainView
	Service string
	Name    string // the part of it behind the owner
	Kind    string // images, changes, grants, refusals or machines
	Title   string
	Begun   bool   // it is not the first page
	Next    string // where the next page begins
	Kept    uint64 // of refusals: the most that the ledger keeps
	Total   uint64

	Images   []imageView
	Grants   []types.Grant
	Refusals []types.Refusal
	Changes  []types.Change
	Machines []types.Instance
}

// Empty reports whether there is nothing to show.
func (l listView) Empty() bool {
	return len(l.Images)+len(l.Grants)+len(l.Refusals)+len(l.Changes)+len(l.Machines) == 0
}

// indexView is a page of services.
type indexView struct {
	chainView
	Owner    *party // whose they are; nil: everybody's
	Services []indexRow
	Begun    bool
	Next     string
}

// indexRow is one service of many.
type indexRow struct {
	types.Service
	types.Counters
}

// refusedView is the page for what there is not.
type refusedView struct {
	chainView
	Title, Reason string
}
