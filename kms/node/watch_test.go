package node

import (
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"

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
