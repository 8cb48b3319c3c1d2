package verifier

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// maxCompressed bounds what a visitor of the page loads, in bytes.
const maxCompressed = 5 << 20

var (
	building sync.Once
	folder   string // of the built verifier
	failure  error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// built returns the folder that `make verifier` would make, built once.
func built(t testing.TB) string {
	t.Helper()
	building.Do(func() {
		if folder, failure = os.MkdirTemp("", "verifier"); failure != nil {
			return
		}
		if out, err := exec.Command("../../scripts/verifier", "go", folder).CombinedOutput(); err != nil {
			failure = err
			t.Logf("%s", out)
		}
	})
	if failure != nil {
		t.Fatal("build the verifier: ", failure)
	}
	return folder
}

func TestSize(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join(built(t), "package", "verify.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(wasm); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("verify.wasm: %d bytes, gzip -9: %d bytes", len(wasm), compressed.Len())
	if compressed.Len() > maxCompressed {
		t.Errorf("verify.wasm has %d bytes compressed, want at most %d", compressed.Len(), maxCompressed)
	}
}
