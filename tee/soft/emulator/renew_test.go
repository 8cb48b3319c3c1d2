package emulator

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/vm"
)

// TestCollateralStaysCurrent lets weeks pass while a machine runs: its evidence
// verifies on every day of them.
func TestCollateralStaysCurrent(t *testing.T) {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	pki, err := NewPKI(start)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := New(pki, vm.Measurement{})
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]bool{}
	for day := range 100 {
		today := start.AddDate(0, 0, day)
		pki.clock = func() time.Time { return today }
		evidence, err := machine.Quote([64]byte{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attest.Verify(evidence, attest.Options{Time: today, Roots: []*x509.Certificate{pki.Root.Cert}}); err != nil {
			t.Fatalf("day %d: %v", day, err)
		}
		sets[string(evidence.Collateral.TCBInfo)] = true
	}
	if len(sets) < 4 || len(sets) > 6 {
		t.Errorf("%d sets of collateral in 100 days, want one about every 23", len(sets))
	}
}

// TestCollateralFile keeps a good file, and replaces an old or a damaged one.
func TestCollateralFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := create(dir, time.Now().Add(-25*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, collateralFile)
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	load := func() string {
		t.Helper()
		if _, err := LoadOrCreatePKI(dir); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	renewed := load()
	if renewed == string(old) {
		t.Error("collateral that ends in five days was kept")
	}
	if load() != renewed {
		t.Error("fresh collateral was replaced")
	}
	if err := os.WriteFile(file, []byte(renewed[:1000]), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := load(); len(again) < len(renewed)-100 {
		t.Errorf("half a file became %d bytes", len(again))
	}
}
