package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestK9_OldDataDoesNotForgetSignatures: what the validator signed last is beside
// its key, not in the data; older data in the place of newer is told apart.
func TestK9_OldDataDoesNotForgetSignatures(t *testing.T) {
	home := Home(t.TempDir())
	_, err := Init(home, InitOptions{ChainID: "a"})
	must(t, err)
	config := home.cometConfig(fast)
	path, former := filepath.Join(string(home), "keys", "signed.json"), filepath.Join(home.data(), "priv_validator_state.json")
	if _, err := os.Stat(former); err == nil {
		t.Error("what was signed is in data/")
	}
	write := func(path, height string) {
		t.Helper()
		must(t, os.WriteFile(path, []byte(`{"height":"`+height+`","round":0,"step":3}`), 0o600))
	}
	height := func() int64 {
		t.Helper()
		v, err := openValidator(config)
		must(t, err)
		return v.LastSignState.Height
	}

	// A home of before is taken over, once; an older copy changes nothing then.
	must(t, os.Remove(path))
	write(former, "7")
	if got := height(); got != 7 {
		t.Errorf("signed block %d, want 7 of the file of before", got)
	}
	write(former, "3")
	if got := height(); got != 7 {
		t.Errorf("older data took the memory back to block %d", got)
	}

	run := func() error {
		return Run(t.Context(), Options{Home: home, Listen: "127.0.0.1:0", Timing: fast, Log: slog.New(slog.DiscardHandler)})
	}
	// Alone, with data that is older than that: nobody has the blocks since.
	if err := run(); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("error is %v, want that the data is older than what was signed", err)
	}
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	if err := run(); err == nil || !strings.Contains(err.Error(), "not what a node writes") {
		t.Errorf("error is %v, want that the file is damaged", err)
	}
	must(t, os.Remove(path))
	must(t, os.Remove(former))
	if err := run(); err == nil || !strings.Contains(err.Error(), "nobody knows what this validator has signed") {
		t.Errorf("error is %v, want that the file is missing", err)
	}
}
