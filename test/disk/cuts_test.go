//go:build e2e

package disk

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	cuts = flag.Int("cuts", 8, "how often to cut the power, with and without integrity each")
	seed = flag.Uint64("seed", 1, "of the moments of the cuts and of what they lose")
)

const (
	cutsOfLife  = 4        // taken from one log of writes
	livesOfDisk = 4        // until a blank one follows
	recordsEach = 30       // of a life
	cutDiskSize = 48 << 20 // two thirds of it for data
)

// TestD5_PowerCuts lets a machine open its disk and write records, logs every write
// and flush, and cuts the power at random writes: of what was written after the last
// flush before it, a random part is lost or torn. Each disk so left is opened, as the
// next boot would: it opens every time, its generation is that of the chain or one
// ahead, no record is missing of which the machine had said that it is kept, and it
// can be written to again. One of the cut disks is what the next life begins with, so
// that what repairs a cut is cut in turn. Every life has the key of a newer epoch, so
// that headers are renewed and cut in that too; every fourth begins with a blank disk.
func TestD5_PowerCuts(t *testing.T) {
	b := newBench(t)
	for _, integrity := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "integrity"}[integrity], func(t *testing.T) {
			t.Parallel()
			l := &lives{machine: b.start(t, machineOptions{size: cutDiskSize, logged: true}), t: t, integrity: integrity, epoch: 2, chance: rand.New(rand.NewPCG(*seed, 1))}
			disk, known := make([]byte, cutDiskSize), promise{}
			for life := 0; l.done < *cuts; life++ {
				if life%livesOfDisk == 0 {
					disk, known = make([]byte, cutDiskSize), promise{}
				}
				disk, known = l.live(disk, known)
			}
			t.Logf("%d cuts: %d writes lost or torn; opened %d times, of them formatted %d, renewed %d; first format interrupted %d times", l.done, l.lost, l.opened, l.formatted, l.renewed, l.interrupted)
			if l.lost == 0 || l.opened < l.done/2 {
				t.Error("the test lost its cuts")
			}
		})
	}
}

// promise is what others know of a disk: the generation that the chain has, and how
// many records the machine has said it keeps.
type promise struct{ chain, kept uint64 }

// lives are those of one disk after the other, in one machine.
type lives struct {
	*machine
	t         *testing.T
	integrity bool
	epoch     uint64
	chance    *rand.Rand

	done, lost, opened, formatted, renewed, interrupted int
}

// made is a promise, with the size of the log when the machine made it.
type made struct {
	logged int64
	promise
}

// live lets the machine use a disk, and opens what cuts leave of it. It returns one
// of these disks, and what was known of it.
func (l *lives) live(disk []byte, known promise) ([]byte, promise) {
	l.t.Helper()
	l.epoch++
	l.put(disk)
	l.writes() // of before
	story := []made{{0, known}}
	now := known
	if failed := l.do(l.order(known, recordsEach), func(s said) {
		l.judge(s, known)
		switch {
		case s.Advanced > 0:
			now.chain = s.Advanced
		case s.Kept > 0:
			now.kept = s.Kept
		default:
			return
		}
		story = append(story, made{l.logged(), now})
	}); failed != "" {
		l.t.Fatalf("a disk that had been opened before: %s", failed)
	}
	log := l.writes()
	if len(log) == 0 || now.kept < known.kept+recordsEach {
		l.t.Fatalf("%d writes, %+v after %+v", len(log), now, known)
	}
	c := crashes{whole: disk, log: log, integrity: l.integrity}
	next, after := disk, known
	chosen := l.chance.IntN(cutsOfLife)
	for i, n := range l.choose(log, story) {
		known := known
		for _, m := range story {
			if m.logged <= log[n-1].end {
				known = m.promise
			}
		}
		crashed, lost := c.at(n, l.chance)
		l.lost += lost
		whole := l.reopen(crashed, known, n, lost, log)
		if i == chosen {
			next, after = crashed, known
			if !whole {
				next, after = make([]byte, len(crashed)), promise{} // as the error asks for
			}
		}
	}
	return next, after
}

func (l *lives) order(known promise, records uint64) order {
	return order{Job: "use", Integrity: l.integrity, Generation: known.chain, Epoch: l.epoch, Records: records}
}

// choose picks how many writes happen before each cut: as often before the machine
// has told of its generation, while it opens the disk, as afterwards.
func (l *lives) choose(log []write, story []made) (out []int) {
	opened := slices.IndexFunc(log, func(w write) bool { return w.end >= story[1].logged }) + 1
	for range cutsOfLife {
		n := 1 + l.chance.IntN(opened)
		if l.chance.IntN(2) == 0 && opened < len(log) {
			n = opened + 1 + l.chance.IntN(len(log)-opened)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// reopen does with a cut disk what the next boot does, and says whether it opened.
func (l *lives) reopen(disk []byte, known promise, n, lost int, log []write) bool {
	l.t.Helper()
	l.put(disk)
	what := "opened"
	failed := l.do(l.order(known, 1), func(s said) {
		l.judge(s, known)
		if s.Formatted {
			what = "formatted"
			l.formatted++
		}
		if s.Renewed {
			what += ", key renewed"
			l.renewed++
		}
		if s.Generation != nil {
			l.opened++
		}
	})
	if failed != "" {
		what = failed
	}
	l.done++
	l.t.Logf("cut %2d before write %4d of %4d, %2d lost or torn: chain %d, %d records kept: %s", l.done, n, len(log), lost, known.chain, known.kept, what)
	switch {
	case failed == "":
	case known.chain == 0 && strings.Contains(failed, "first format was interrupted"):
		l.interrupted++
	default:
		l.t.Errorf("cut %d: %s; the last writes were %v", l.done, failed, log[max(0, n-12):n])
	}
	return failed == ""
}

// judge compares what an opened disk holds with what is known of it.
func (l *lives) judge(s said, known promise) {
	l.t.Helper()
	if s.Generation == nil {
		return
	}
	if s.Records < known.kept || s.Records > known.kept+1 || *s.Generation != known.chain && *s.Generation != known.chain+1 {
		l.t.Errorf("%d records, want %d or one more; generation %d, the chain's is %d", s.Records, known.kept, *s.Generation, known.chain)
	}
	if s.Formatted && known.chain > 0 {
		l.t.Error("a used disk was formatted")
	}
}
