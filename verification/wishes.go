package verification

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Wishes are what a caller can say about a machine in a few words.
type Wishes struct {
	ComposeHash *vm.Hash      `json:"compose_sha256,omitempty"` // instead of the compose file
	FilesHash   *vm.Hash      `json:"files_sha256,omitempty"`   // instead of the archive
	Registers   []Registers   `json:"registers,omitempty"`      // instead of a manifest: one must hold whole
	RootHash    *vm.Hash      `json:"root_hash,omitempty"`      // dm-verity root hash of the root file system
	Launch      []vm.Register `json:"launch,omitempty"`         // SEV-SNP: accepted launch measurements
	HostData    *vm.Hash      `json:"host_data,omitempty"`      // SEV-SNP
	TEEs        []vm.TEE      `json:"tees,omitempty"`           // accepted; none: all whose root is accepted
	Dev         bool          `json:"dev,omitempty"`            // images for development are accepted
	Fresh       bool          `json:"fresh,omitempty"`          // the connection and the nonce must hold
	MaxAge      time.Duration `json:"max_age_ns,omitempty"`     // between asking and judging
}

// Registers are the registers that one known machine has. RTMR3 follows from
// the workload and may be left to other comparisons.
type Registers struct {
	MRTD  vm.Register  `json:"mrtd"`
	RTMR0 vm.Register  `json:"rtmr0"`
	RTMR1 vm.Register  `json:"rtmr1"`
	RTMR2 vm.Register  `json:"rtmr2"`
	RTMR3 *vm.Register `json:"rtmr3,omitempty"`
}

// wantsImage reports whether there is anything to compare the launch with.
func (f *finding) wantsImage() bool {
	return f.want.Manifest != nil || len(f.want.Wishes.Registers) > 0 || len(f.want.Wishes.Launch) > 0
}

// composeHash is the digest of the wanted compose file; nil without a wish.
func (w Wanted) composeHash() *vm.Hash { return digestOf(w.Compose, w.Wishes.ComposeHash) }

// filesHash is the digest of the wanted archive; nil without a wish.
func (w Wanted) filesHash() *vm.Hash { return digestOf(w.Files, w.Wishes.FilesHash) }

func digestOf(b []byte, otherwise *vm.Hash) *vm.Hash {
	if b == nil {
		return otherwise
	}
	h := vm.HashOf(b)
	return &h
}

// wholeRegisters reports whether one wanted set holds in all five registers:
// then everything that was ever measured is what the caller wanted.
func (f *finding) wholeRegisters() bool {
	m := f.verdict.Measurement
	return slices.ContainsFunc(f.want.Wishes.Registers, func(r Registers) bool {
		return r.RTMR3 != nil && m == (vm.Measurement{MRTD: r.MRTD, RTMR: [4]vm.Register{r.RTMR0, r.RTMR1, r.RTMR2, *r.RTMR3}, MRConfigID: m.MRConfigID})
	})
}

// checkKind holds the kind of machine against the policy's.
func (f *finding) checkKind() *vm.Refusal {
	kinds := f.want.Wishes.TEEs
	if len(kinds) == 0 || slices.Contains(kinds, f.verdict.TEE) {
		return nil
	}
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return vm.Refuse(vm.CodePolicy, "the machine is genuine, but of a kind that the policy does not accept").
		On("tee", string(f.verdict.TEE), strings.Join(names, " or ")).Try("machine.tee in the policy lists the kinds")
}

// checkAge refuses evidence that was asked for too long before it is judged,
// or later.
func (f *finding) checkAge() *vm.Refusal {
	limit := f.want.Wishes.MaxAge
	if limit == 0 {
		return nil
	}
	const hint = "ask the machine again: `secretvm verify URL`"
	if f.answer.Asked.IsZero() {
		return vm.Refuse(vm.CodeStale, "nobody knows how old the evidence is").On("age", "unknown", "at most "+limit.String()).Try(hint)
	}
	age := f.want.Time.Sub(f.answer.Asked)
	if age > limit || age < -time.Minute {
		return vm.Refuse(vm.CodeStale, "the evidence is not as fresh as the policy wants").
			On("age", fmt.Sprint(age.Round(time.Second)), "at most "+limit.String()).Try(hint)
	}
	return nil
}

// checkFreshness applies the policy to the two checks of report data.
func (f *finding) checkFreshness(connection, fresh Check) (Check, Check) {
	if f.want.Wishes.Fresh {
		const hint = "evidence from a file or a bundle cannot show it: `secretvm verify URL`"
		for _, c := range []*Check{&connection, &fresh} {
			if c.OK == Open || c.OK == Holds && f.answer.Recorded {
				*c = fails(c.Name, vm.Refuse(vm.CodeStale, "the policy wants a connection and a nonce of your own").
					On(c.Name, "not seen", "checked by yourself").Try(hint))
			}
		}
	}
	if refusal := f.checkAge(); refusal != nil && fresh.OK != Fails {
		fresh = fails("fresh", refusal)
	}
	return connection, fresh
}
