package node

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestEndOfConsensus: the last words of consensus reach whoever runs the node,
// once, with what to do about them.
func TestEndOfConsensus(t *testing.T) {
	for _, tt := range []struct{ words, hint string }{
		{"write wal: no space left on device", "make room"},
		{"block time 2026 is too far in the future", "clock"},
		{"app hash differs", "newer kmsd"},
	} {
		said := make(lastWords, 1)
		log := watched{cometLogger{slog.New(slog.DiscardHandler)}, said}.With("module", "consensus")
		log.Error("another error", "err", "nothing")
		if len(said) != 0 {
			t.Fatalf("%s: any error is taken for the end", tt.words)
		}
		for range 3 { // it must never block
			log.Error("CONSENSUS FAILURE!!!", "err", tt.words, "stack", "…")
		}
		err := ended(<-said)
		if refusal, ok := err.(*vm.Refusal); !ok || !strings.Contains(refusal.Reason, tt.words) || !strings.Contains(refusal.Hint, tt.hint) {
			t.Errorf("%s: error is %v, want the words and a hint about %q", tt.words, err, tt.hint)
		}
	}
}

func TestUnopened(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("open: %w", syscall.EAGAIN), "another kmsd"},
		{fmt.Errorf("open: %w", syscall.ENOSPC), "no space left"},
		{fmt.Errorf("open: %w", syscall.EIO), "state: open: input/output error"},
	} {
		err := unopened("h", tt.err)
		if !strings.Contains(err.Error(), tt.want) || tt.want != "another kmsd" && strings.Contains(err.Error(), "another kmsd") {
			t.Errorf("%v: error is %v, want %q", tt.err, err, tt.want)
		}
	}
}

// TestDoor: a node that starts says so at once.
func TestDoor(t *testing.T) {
	d := &door{}
	ask := func() int {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, wire.PathStatus, nil))
		return w.Code
	}
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("while it starts: %d, want 503", got)
	}
	d.open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	if got := ask(); got != http.StatusTeapot {
		t.Errorf("afterwards: %d, want what is behind", got)
	}
}

func TestChainsBeganBefore(t *testing.T) {
	genesis := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		now     time.Duration
		wantErr bool
	}{{0, false}, {time.Hour, false}, {-5 * time.Second, false}, {-5 * time.Minute, true}} {
		if err := begun(genesis, genesis.Add(tt.now)); (err != nil) != tt.wantErr {
			t.Errorf("%s after genesis: error is %v, want one: %t", tt.now, err, tt.wantErr)
		}
	}
}
