package eventlog

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Kind is how one event differs.
type Kind string

// The kinds of difference.
const (
	Changed    Kind = "changed"    // another digest in the place of the wanted event
	Missing    Kind = "missing"    // wanted, not seen
	Additional Kind = "additional" // seen, not wanted
	Moved      Kind = "moved"      // seen, in another place or register than wanted
	Duplicate  Kind = "duplicate"  // an additional event that repeats a wanted one
)

// Difference is one event that differs.
type Difference struct {
	Kind     Kind      `json:"kind"`
	Register int       `json:"register"`       // in which it was wanted, or else seen
	Index    int       `json:"index"`          // its place among the register's events: wanted for missing ones, seen for the others
	Want     *vm.Event `json:"want,omitempty"` // payload: what measures it, for people
	Got      *vm.Event `json:"got,omitempty"`
}

// String is one line for people.
func (d Difference) String() string {
	at := fmt.Sprintf("RTMR%d event %d", d.Register, d.Index)
	switch d.Kind {
	case Missing:
		return fmt.Sprintf("%s: %s is missing", at, about(d.Want))
	case Additional:
		return fmt.Sprintf("%s: %s is not expected", at, about(d.Got))
	case Duplicate:
		return fmt.Sprintf("%s: %s happens once more than expected", at, about(d.Got))
	case Moved:
		if d.Got.Register != d.Want.Register {
			return fmt.Sprintf("%s: %s was measured into RTMR%d", at, about(d.Want), d.Got.Register)
		}
		return fmt.Sprintf("%s: %s comes in another place than expected", at, about(d.Got))
	}
	if d.Want.Name == d.Got.Name {
		return fmt.Sprintf("%s: %s is another one: digest %s…, want %s…", at, about(d.Got), d.Got.Digest.String()[:16], d.Want.Digest.String()[:16])
	}
	return fmt.Sprintf("%s: %s, want %s", at, about(d.Got), about(d.Want))
}

func about(e *vm.Event) string {
	name := printable(e.Name)
	if e.Register == vm.RuntimeRegister || len(e.Payload) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, printable(string(e.Payload)))
}

// Diff explains how seen differs from wanted, register by register and in
// order; none means that the registers are equal. Events are compared by
// digest alone: names and payloads are for people. A first difference is
// always exact; where lists are very long and very different the rest is
// paired by place.
func Diff(wanted, seen []vm.Event) []Difference {
	var out []Difference
	for register := range 4 {
		out = append(out, diffRegister(register, only(wanted, register), only(seen, register))...)
	}
	return pairMoved(out)
}

func only(events []vm.Event, register int) (out []vm.Event) {
	for _, e := range events {
		if e.Register == register {
			out = append(out, e)
		}
	}
	return out
}

// diffRegister walks along the longest common list of digests and pairs what
// lies between its members.
func diffRegister(register int, wanted, seen []vm.Event) (out []Difference) {
	var gapWanted, gapSeen []int
	matched := map[vm.Register]bool{}
	flush := func() {
		out = append(out, pair(register, wanted, seen, gapWanted, gapSeen)...)
		gapWanted, gapSeen = nil, nil
	}
	i, j := 0, 0
	for _, m := range subsequence(wanted, seen) {
		for ; i < m[0]; i++ {
			gapWanted = append(gapWanted, i)
		}
		for ; j < m[1]; j++ {
			gapSeen = append(gapSeen, j)
		}
		flush()
		matched[wanted[i].Digest] = true
		i, j = i+1, j+1
	}
	for ; i < len(wanted); i++ {
		gapWanted = append(gapWanted, i)
	}
	for ; j < len(seen); j++ {
		gapSeen = append(gapSeen, j)
	}
	flush()
	for k := range out {
		if out[k].Kind == Additional && matched[out[k].Got.Digest] {
			out[k].Kind = Duplicate
		}
	}
	return out
}

// pair makes differences of the events between two matches: same names first,
// in order; then, where as many are left on both sides, by place.
func pair(register int, wanted, seen []vm.Event, gapWanted, gapSeen []int) (out []Difference) {
	partner := map[int]int{} // of wanted
	taken := map[int]bool{}  // of seen
	next := 0
	for _, i := range gapWanted {
		for k := next; k < len(gapSeen); k++ {
			if j := gapSeen[k]; wanted[i].Name == seen[j].Name {
				partner[i], taken[j], next = j, true, k+1
				break
			}
		}
	}
	if len(partner) == 0 && len(gapWanted) == len(gapSeen) {
		for k, i := range gapWanted {
			partner[i], taken[gapSeen[k]] = gapSeen[k], true
		}
	}
	for _, i := range gapWanted {
		if j, ok := partner[i]; ok {
			out = append(out, Difference{Kind: Changed, Register: register, Index: j, Want: &wanted[i], Got: &seen[j]})
			continue
		}
		out = append(out, Difference{Kind: Missing, Register: register, Index: i, Want: &wanted[i]})
	}
	for _, j := range gapSeen {
		if !taken[j] {
			out = append(out, Difference{Kind: Additional, Register: register, Index: j, Got: &seen[j]})
		}
	}
	return out
}

// pairMoved joins an event that is missing in one place and additional in
// another.
func pairMoved(all []Difference) []Difference {
	extra := map[vm.Register][]int{} // digest → indexes of additional events
	for k, d := range all {
		if d.Kind == Additional {
			extra[d.Got.Digest] = append(extra[d.Got.Digest], k)
		}
	}
	gone := map[int]bool{}
	for k := range all {
		if all[k].Kind != Missing {
			continue
		}
		at := extra[all[k].Want.Digest]
		if len(at) == 0 {
			continue
		}
		other := all[at[0]]
		extra[all[k].Want.Digest] = at[1:]
		gone[at[0]] = true
		all[k].Kind, all[k].Got = Moved, other.Got
		if other.Register == all[k].Register {
			all[k].Index = other.Index
		}
	}
	out := all[:0]
	for k, d := range all {
		if !gone[k] {
			out = append(out, d)
		}
	}
	return out
}
