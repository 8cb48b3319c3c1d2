//go:build e2e

package disk

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	cuts  = flag.Int("cuts", 6, "how often to cut the power, half of it with integrity")
	seed  = flag.Uint64("seed", 1, "of the moments of the cuts and of what they lose")
	speed = flag.Bool("speed", false, "measure how fast disks are")
)

// TestD5_PowerCuts lets a machine open its disk and write records, and cuts the power
// at a random one of its writes: of what was written after the last flush before it, a
// random part is lost. The next boot opens the disk every time, the generation is that
// of the chain or one ahead, and no record is missing of which the machine had said
// that it is kept. Every boot has the key of a newer epoch, so that headers are
// renewed and cut in that too; every eighth machine begins with an empty disk.
func TestD5_PowerCuts(t *testing.T) {
	for _, integrity := range []int{0, 1} {
		t.Run(fmt.Sprintf("integrity=%d", integrity), func(t *testing.T) {
			b := newBench(t)
			chance := rand.New(rand.NewPCG(*seed, uint64(integrity)))
			var known promise
			epoch := uint64(2)
			const size = 64 << 20
			b.blank(size)
			for i := range (*cuts + 1) / 2 {
				if i > 0 && i%8 == 0 {
					b.blank(size)
					known = promise{}
				}
				epoch++
				before := filepath.Join(b.dir, "before.img")
				copySparse(t, b.disk, before)
				story, failed := b.life(integrity, known, epoch)
				if failed != "" {
					if known.chain > 0 || !strings.Contains(failed, "first format was interrupted") {
						t.Fatalf("cut %d: %s", i, failed)
					}
					t.Logf("cut %2d: %s", i, failed)
					b.blank(size) // as the error asks for
					continue
				}
				writes, err := readLog(b.log())
				must(t, err)
				if len(writes) == 0 {
					t.Fatalf("cut %d: the machine wrote nothing", i)
				}
				cut := story.choose(writes, chance)
				known = story.at(writes[cut].end, known)
				must(t, os.Rename(before, b.disk))
				lost, err := replay(b.disk, writes[:cut+1], chance)
				must(t, err)
				t.Logf("cut %2d at write %4d of %4d, %2d lost or torn: chain %d, %d records kept%s", i, cut+1, len(writes), lost, known.chain, known.kept, story.what)
			}
			b.settle(t, integrity, known.chain, known.kept, epoch+1)
		})
	}
}

// promise is what others know of a disk: the generation that the chain has, and how
// many records the machine has said it keeps.
type promise struct{ chain, kept uint64 }

// story is what a machine said, with the size of the log of its writes at the time.
type story struct {
	what string
	said []struct {
		logged int64
		promise
	}
}

// at is what was known when the log had a size.
func (s story) at(logged int64, known promise) promise {
	for _, x := range s.said {
		if x.logged <= logged {
			known = x.promise
		}
	}
	return known
}

// choose picks a write: as often before the machine has told of its generation,
// while it opens the disk, as afterwards.
func (s story) choose(writes []write, chance *rand.Rand) int {
	opened := len(writes)
	for i, w := range writes {
		if len(s.said) > 0 && w.end >= s.said[0].logged {
			opened = i + 1
			break
		}
	}
	if opened == len(writes) || chance.IntN(2) == 0 {
		return chance.IntN(opened)
	}
	return opened + chance.IntN(len(writes)-opened)
}

// life boots a machine and ends it after thirty records.
func (b *bench) life(integrity int, known promise, epoch uint64) (out story, failed string) {
	b.t.Helper()
	from, now := known, known
	first := uint64(0)
	job := fmt.Sprintf("disk.job=use disk.integrity=%d disk.generation=%d disk.epoch=%d", integrity, known.chain, epoch)
	b.boot(job, b.log(), func(s said, cut context.CancelFunc) {
		switch {
		case s.Error != "":
			failed = s.Error
			return
		case s.Generation != nil:
			first = s.Records
			out.what = map[bool]string{true: ", formatted"}[s.Formatted] + map[bool]string{true: ", key renewed"}[s.Renewed]
			if s.Records < from.kept || *s.Generation != from.chain && *s.Generation != from.chain+1 {
				b.t.Errorf("%d records, want at least %d; generation %d, the chain's is %d", s.Records, from.kept, *s.Generation, from.chain)
			}
			if s.Formatted && from.chain > 0 {
				b.t.Error("a used disk was formatted")
			}
			return
		case s.Advanced > 0:
			now.chain = s.Advanced
		case s.Kept > 0:
			now.kept = s.Kept
		default:
			return
		}
		info, err := os.Stat(b.log())
		must(b.t, err)
		out.said = append(out.said, struct {
			logged int64
			promise
		}{info.Size(), now})
		if s.Kept >= first+30 {
			cut()
		}
	})
	return out, failed
}

func (b *bench) log() string { return filepath.Join(b.dir, "writes.log") }

// settle boots a last time, without a cut.
func (b *bench) settle(t *testing.T, integrity int, chain, kept, epoch uint64) {
	t.Helper()
	var last said
	b.boot(fmt.Sprintf("disk.job=use disk.records=0 disk.integrity=%d disk.generation=%d disk.epoch=%d", integrity, chain, epoch), "", func(s said, _ context.CancelFunc) {
		if s.Error != "" && (chain > 0 || !strings.Contains(s.Error, "first format was interrupted")) {
			t.Errorf("after the last cut: %s", s.Error)
		}
		if s.Generation != nil {
			last = s
		}
	})
	if last.Records < kept {
		t.Errorf("after the last cut: %d records, want at least %d", last.Records, kept)
	}
}

// TestD3_ChangedBlocksAreReadErrors: on a disk with integrity nothing is read that
// the machine did not write there: neither bits that were flipped, nor a block of
// elsewhere, nor zeros. And disks grow when their host enlarges them.
func TestD3_ChangedBlocksAreReadErrors(t *testing.T) {
	b := newBench(t)
	b.blank(128 << 20)
	job := func(records int, chain uint64, integrity int) string {
		return fmt.Sprintf("disk.job=use disk.records=%d disk.integrity=%d disk.generation=%d disk.epoch=5", records, integrity, chain)
	}
	var kept uint64
	b.boot(job(1, 0, 1), "", func(s said, cut context.CancelFunc) {
		if s.Error != "" {
			t.Fatal(s.Error)
		}
		if kept = s.Kept; kept == 20 {
			cut()
		}
	})
	if kept < 20 {
		t.Fatalf("%d records", kept)
	}
	// The host does not know where the records are: it changes one byte of every
	// block behind the header.
	disk, err := os.ReadFile(b.disk)
	must(t, err)
	for off := 16<<20 + 8192; off < len(disk); off += 4096 { // without the superblock
		disk[off] ^= 1
	}
	must(t, os.WriteFile(b.disk, disk, 0o600))
	var failure string
	b.boot(job(0, 1, 1), "", func(s said, _ context.CancelFunc) {
		failure += s.Error
		if s.Generation != nil {
			t.Errorf("a disk whose blocks were all changed was opened: %+v", s)
		}
	})
	t.Logf("changed blocks: %s", failure)
	if failure == "" {
		t.Error("changed blocks were not noticed")
	}

	b.blank(64 << 20)
	var small, large said
	b.boot(job(0, 0, 0), "", func(s said, _ context.CancelFunc) {
		if s.Generation != nil {
			small = s
		}
	})
	must(t, os.Truncate(b.disk, 192<<20))
	b.boot(job(0, 1, 0), "", func(s said, _ context.CancelFunc) {
		if s.Generation != nil {
			large = s
		}
	})
	if !large.Grown || large.Bytes < 3*small.Bytes || small.Bytes == 0 {
		t.Errorf("a disk of %d bytes grew to %d: %+v", small.Bytes, large.Bytes, large)
	}
}

// TestDiskSpeed compares disks in one boot: medians of three.
func TestDiskSpeed(t *testing.T) {
	if !*speed {
		t.Skip("only with -speed")
	}
	b := newBench(t)
	b.blank(512 << 20)
	rates := make(map[string][]float64)
	b.boot("disk.job=speed", "", func(s said, _ context.CancelFunc) {
		switch {
		case s.Error != "":
			t.Error(s.Error)
		case s.Seconds > 0:
			t.Logf("first writing of 496 MiB with integrity: %.1f s", s.Seconds)
		case s.Rate > 0:
			rates[s.Device+" "+s.Kind] = append(rates[s.Device+" "+s.Kind], s.Rate)
		}
	})
	median := func(name string) float64 {
		r := slices.Clone(rates[name])
		slices.Sort(r)
		if len(r) == 0 {
			return 0
		}
		return r[len(r)/2]
	}
	for _, kind := range []string{"read 1M", "write 1M", "read 4k", "write 4k"} {
		raw, plain, checked := median("raw "+kind), median("encrypted "+kind), median("integrity "+kind)
		t.Logf("%-9s raw %6.1f MB/s, encrypted %6.1f (%.2f), with integrity %6.1f (%.2f)", kind, raw/1e6, plain/1e6, plain/raw, checked/1e6, checked/raw)
		if plain == 0 || checked == 0 {
			t.Errorf("%s: not measured", kind)
		}
	}
}
