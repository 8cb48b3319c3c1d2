//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	length = flag.Duration("length", 0, "break things for so long; 0: every fault once")
	hold   = flag.Duration("hold", 2*time.Second, "how long a fault lasts")
)

// recovery is how long nodes may take to serve as before; a node that fetches
// blocks may take longer, as long as it gets on.
const recovery = 2 * time.Minute

// settle is after how long nobody hears any more of what was under way.
const settle = 2 * time.Second

// fault is one thing that goes wrong.
type fault struct {
	name   string
	victim func(c *chainOfFour, turn int) *process
	begin  func(t *testing.T, c *chainOfFour, v *process)
	end    func(t *testing.T, c *chainOfFour, v *process)

	stuck func(c *chainOfFour, v *process) []*process // who can decide nothing meanwhile; nil: nobody
	ends  bool                                        // the victim may end by itself, and be started again
	long  bool                                        // only with -length
}

// any takes another victim each time.
func anyone(c *chainOfFour, turn int) *process { return c.nodes[turn%(members-1)] }

func last(c *chainOfFour, _ int) *process { return c.nodes[members-1] }

// faults lists what is done, in order.
func faults(old map[int]string) []fault {
	restart := func(t *testing.T, _ *chainOfFour, v *process) { v.start(t) }
	kill := func(_ *testing.T, _ *chainOfFour, v *process) { v.kill() }
	mend := func(_ *testing.T, c *chainOfFour, _ *process) {
		for _, l := range c.lines {
			l.mend()
		}
	}
	wrong := func(seconds int32) func(*testing.T, *chainOfFour, *process) {
		return func(t *testing.T, _ *chainOfFour, v *process) { v.setClock(t, seconds) }
	}
	right := func(t *testing.T, _ *chainOfFour, v *process) { v.rightClock(t) }
	everybody := func(c *chainOfFour, _ *process) []*process { return c.nodes }
	itself := func(_ *chainOfFour, v *process) []*process { return []*process{v} }
	// restore puts back what was copied at first of a home.
	restore := func(part string) func(*testing.T, *chainOfFour, *process) {
		return func(t *testing.T, _ *chainOfFour, v *process) {
			v.kill()
			must(t, os.RemoveAll(filepath.Join(string(v.home), part)))
			duplicate(t, filepath.Join(old[v.index], part), filepath.Join(string(v.home), part))
		}
	}
	all := []fault{
		{name: "kill -9", victim: anyone, begin: kill, end: restart},
		{name: "pause", victim: anyone, begin: func(t *testing.T, _ *chainOfFour, v *process) {
			must(t, v.cmd.Process.Signal(syscall.SIGSTOP))
		}, end: func(t *testing.T, _ *chainOfFour, v *process) {
			must(t, v.cmd.Process.Signal(syscall.SIGCONT))
		}},
		{name: "partition 2|2", victim: anyone, stuck: everybody, begin: func(_ *testing.T, c *chainOfFour, v *process) {
			mate := c.nodes[v.index%members]
			for _, side := range []*process{v, mate} {
				for _, other := range c.nodes {
					if other != v && other != mate {
						c.line(side, other).hold()
					}
				}
			}
		}, end: mend},
		{name: "partition 3|1", victim: anyone, stuck: itself, begin: func(_ *testing.T, c *chainOfFour, v *process) {
			for _, other := range c.nodes {
				if other != v {
					c.line(v, other).sever()
				}
			}
		}, end: mend},
		{name: "slow line", victim: anyone, begin: func(_ *testing.T, c *chainOfFour, v *process) {
			for _, other := range c.nodes {
				if other != v {
					c.line(v, other).slow(300*time.Millisecond, 128<<10)
				}
			}
		}, end: mend},
		{name: "old data folder", victim: anyone, begin: restore("data"), end: restart},
		{name: "old home", long: true, victim: anyone, begin: restore(""), end: restart},
		{name: "kill -9 in a round", long: true, victim: anyone, begin: func(t *testing.T, c *chainOfFour, v *process) {
			c.reshare(t)
			v.kill()
		}, end: restart},
		{name: "damaged share", victim: anyone, begin: func(t *testing.T, _ *chainOfFour, v *process) {
			v.kill()
			damageShare(t, v)
		}, end: restart},
		{name: "disk full", victim: last, begin: fillDisk, end: emptyDisk, ends: true},
	}
	if hasClock {
		all = append(all,
			fault{name: "clock 5 min fast", victim: anyone, begin: wrong(300), end: right},
			fault{name: "clock 5 min slow", victim: anyone, begin: wrong(-300), end: right, ends: true},
		)
	}
	return all
}

// damageShare flips a digit of the node's newest share.
func damageShare(t *testing.T, v *process) {
	t.Helper()
	path := v.newestShare()
	b, err := os.ReadFile(path)
	must(t, err)
	var share map[string]any
	must(t, json.Unmarshal(b, &share))
	before := share["scalar"].(string)
	digit := byte('0')
	if before[20] == digit {
		digit = '1'
	}
	share["scalar"] = before[:20] + string(digit) + before[21:]
	b, err = json.Marshal(share)
	must(t, err)
	must(t, os.WriteFile(path, b, 0o600))
}

// newestShare is the file of the share that a node was given last; empty when it
// has none.
func (p *process) newestShare() (path string) {
	files, _ := filepath.Glob(filepath.Join(string(p.home), "shares", "*.json"))
	newest := -1
	for _, f := range files {
		var epoch, round int
		if _, err := fmt.Sscanf(filepath.Base(f), "%d-%d.json", &epoch, &round); err == nil && round > newest {
			newest, path = round, f
		}
	}
	return path
}

// outcome is what became of one fault.
type outcome struct {
	gap, back time.Duration
	ends      []string // of the victim, by itself
}

// TestK9_Faults breaks one thing after the other under continuous releases.
func TestK9_Faults(t *testing.T) {
	dir := t.TempDir()
	c := newChain(t, build(t, dir), true)
	cfg := c.service(t)
	old := c.copies(t, dir)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &crowd{}
	forks := &witness{blocks: map[int64]string{}}
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	for n := range 4 {
		all.Go(func() { w.live(ctx, t, c, cfg, n+1) })
	}
	all.Go(func() { w.intrude(ctx, t, c, cfg, 5) })
	all.Go(func() { forks.watch(ctx, t, c) })
	all.Go(func() { c.stand(ctx) })
	if _, ok := c.within(t, recovery, func() bool { return w.last.Load() != nil }); !ok {
		t.Fatal("no machine got a key before anything was broken")
	}

	begin, results := time.Now(), map[string][]outcome{}
	lasted := func() time.Duration { return time.Since(begin) - time.Duration(c.still.Load()) }
	list := faults(old)
	for turn := 0; turn == 0 || lasted() < *length; turn++ {
		for i, f := range list {
			if f.long && *length == 0 || t.Failed() || turn > 0 && lasted() > *length {
				continue
			}
			results[f.name] = append(results[f.name], c.suffer(t, w, f, f.victim(c, turn+i)))
		}
		if t.Failed() {
			break
		}
	}
	cancel()
	all.Wait()
	c.compare(t, w)
	c.confess(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%s: %d releases granted, %d advances of disks; %d releases of a strange machine, all refused; %d that nobody decided while something was broken; %d requests shown to two nodes; %d blocks compared",
		lasted().Round(time.Second), len(w.released), w.advanced, w.refused, w.failed, w.twice, len(forks.blocks))
	t.Logf("violations (wrong key, lost key, decided twice, signed twice, fork): %d", c.violations)
	t.Logf("| %-18s | times | no release for: median, worst | all as before after: median, worst | ended by itself |", "fault")
	for _, f := range list {
		if len(results[f.name]) > 0 || !f.long {
			report(t, f.name, results[f.name])
		}
	}
}

// suffer has one fault begin, last and end, and waits until all is well.
func (c *chainOfFour) suffer(t *testing.T, w *crowd, f fault, v *process) (o outcome) {
	t.Helper()
	for _, p := range c.nodes {
		p.ends = nil
	}
	begin, still := time.Now(), c.still.Load()
	f.begin(t, c, v)
	if f.stuck != nil {
		c.lasts(t, settle)
		stuck := f.stuck(c, v)
		before := top(c, stuck)
		c.lasts(t, *hold)
		if after := top(c, stuck); after > before+1 {
			c.violate(t, "%s: blocks %d to %d were made by no majority", f.name, before, after)
		}
	} else {
		c.lasts(t, *hold)
		if s, err := c.status(v); f.name == "pause" && err == nil {
			t.Errorf("a paused node answers: %+v", s.Newest)
		}
	}
	target := top(c, c.nodes)
	f.end(t, c, v)
	lifted := time.Now()
	took, ok := c.within(t, recovery, func() bool { return c.well(w, lifted, target) })
	for before := int64(0); !ok && v.height() > before; {
		before = v.height()
		more, well := c.within(t, recovery, func() bool { return c.well(w, lifted, target) })
		took, ok = took+more, well
	}
	if !ok {
		t.Errorf("%s: not all nodes serve %s later: node %d: %s", f.name, recovery, v.index, v.tail())
	}
	for _, p := range c.nodes {
		if len(p.ends) > 0 && (p != v || !f.ends) {
			t.Errorf("%s of node %d: node %d ended by itself: %s", f.name, v.index, p.index, p.ends)
		}
	}
	stood := time.Duration(c.still.Load() - still)
	o = outcome{gap: max(0, w.gap(begin, time.Now())-stood), back: took, ends: v.ends}
	if stood > 0 {
		t.Logf("this whole computer stood still for %.1f s meanwhile", stood.Seconds())
	}
	t.Logf("%-16s node %d  longest time without a release %5.1f s  all as before after %5.1f s  %s", f.name, v.index, o.gap.Seconds(), o.back.Seconds(), v.ends)
	c.lasts(t, time.Second)
	return o
}

// lasts lets time pass.
func (c *chainOfFour) lasts(t *testing.T, d time.Duration) {
	c.within(t, d, func() bool { return false })
}

// well reports whether every node has reached a height, holds a share of the
// newest round, and gives its part of a key that was granted after a moment.
func (c *chainOfFour) well(w *crowd, after time.Time, height int64) bool {
	request := w.last.Load()
	if w.at.Load() < after.UnixNano() {
		return false
	}
	newest := c.nodes[0].newestShare()
	for _, p := range c.nodes {
		if s, err := c.status(p); err != nil || s.Newest <= height || s.Round != "" {
			return false
		}
		if newest == "" || filepath.Base(p.newestShare()) != filepath.Base(newest) {
			return false
		}
		if c.partial(p, *request) != nil {
			return false
		}
	}
	return true
}

// report prints the median and the worst of what a fault did.
func report(t *testing.T, name string, all []outcome) {
	if len(all) == 0 {
		t.Logf("| %s | not done | | |", name)
		return
	}
	ended := 0
	var gaps, backs []time.Duration
	for _, o := range all {
		gaps, backs = append(gaps, o.gap), append(backs, o.back)
		ended += min(1, len(o.ends))
	}
	slices.Sort(gaps)
	slices.Sort(backs)
	text := func(d []time.Duration) string {
		return fmt.Sprintf("%.1f s, %.1f s", d[len(d)/2].Seconds(), d[len(d)-1].Seconds())
	}
	t.Logf("| %-18s | %d | %s | %s | %d |", name, len(all), text(gaps), text(backs), ended)
}

// copies keeps every node's home as it is now.
func (c *chainOfFour) copies(t *testing.T, dir string) map[int]string {
	t.Helper()
	old := map[int]string{}
	for _, p := range c.nodes {
		p.kill()
		old[p.index] = filepath.Join(dir, fmt.Sprintf("old%d", p.index))
		duplicate(t, string(p.home), old[p.index])
		p.start(t)
	}
	return old
}

// duplicate copies a folder with its files' modes.
func duplicate(t *testing.T, from, to string) {
	t.Helper()
	if text, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, text)
	}
}
