//go:build load

package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fetchProfile reads a node's profile of the processor over the coming seconds into
// a file.
func (p *process) fetchProfile(ctx context.Context, path string, length time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.profile, int(length.Seconds()))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %s", res.Status, b)
	}
	return os.WriteFile(path, b, 0o600)
}

// part is something that a node spends its time on: whatever has one of the
// functions on its stack.
type part struct {
	name      string
	functions []string
}

// parts of a node's work. A sample belongs to the first whose function is on
// its stack; what belongs to none is the rest.
var parts = []part{
	{"verification of evidence", []string{"kms/decision.Decide"}},
	{"partial keys: points, and envelopes to machines", []string{"node.(*Node).partials"}},
	{"state: stores and their hashes", []string{"rootmulti.(*Store).Commit", "leveldb.(*DB).", "iavl.("}},
	{"transactions and blocks in the application", []string{"baseapp.(*BaseApp)."}},
	{"HTTP and JSON", []string{"net/http.(*conn).serve", "net/http.(*Server).Serve"}},
	{"consensus: votes, blocks, their log", []string{"internal/consensus.", "cometbft/consensus."}},
	{"gossip: mempool, connections and their encryption", []string{"cometbft/p2p", "cometbft/mempool", "secretconnection"}},
	{"collection of garbage", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"scheduling", []string{"runtime.mcall", "runtime.mstart", "runtime.park_m", "runtime.schedule"}},
}

// showProfile prints what a node's processor time went into, between two
// measurements of how many releases it took part in.
func showProfile(t *testing.T, program, path string) {
	t.Helper()
	spent := make([]time.Duration, len(parts)+1)
	var all time.Duration
	for _, s := range samples(t, program, path) {
		at := slices.IndexFunc(parts, func(p part) bool {
			return slices.ContainsFunc(p.functions, func(name string) bool { return strings.Contains(s.stack, name) })
		})
		if at < 0 {
			at = len(parts)
		}
		spent[at] += s.spent
		all += s.spent
	}
	report("what the processor time of one node goes into, by its profile (%s):", filepath.Base(path))
	for i, d := range spent {
		name := "the rest"
		if i < len(parts) {
			name = parts[i].name
		}
		report("  %5.1f %%  %s", 100*d.Seconds()/all.Seconds(), name)
	}
}

// sample is one stack and the time spent there.
type sample struct {
	stack string // a function in each line, callers below
	spent time.Duration
}

// samples reads a profile as `go tool pprof -traces` prints it: blocks between
// lines of dashes, each a time and a function, then its callers.
func samples(t *testing.T, program, path string) (out []sample) {
	t.Helper()
	text := string(command(t, "go", "tool", "pprof", "-traces", "-unit=ms", program, path))
	for _, block := range strings.Split(text, "-----------+") {
		var s sample
		for line := range strings.Lines(block) {
			fields := strings.Fields(line)
			if len(fields) > 1 && s.spent == 0 {
				s.spent, _ = time.ParseDuration(fields[0]) // or it is a function
			}
			if len(fields) > 0 && s.spent > 0 {
				s.stack += fields[len(fields)-1] + "\n"
			}
		}
		if s.spent > 0 {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		t.Fatalf("the profile %s has no samples: %.500s", path, text)
	}
	return out
}
