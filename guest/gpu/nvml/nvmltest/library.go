// Package nvmltest makes stand-ins for NVIDIA's management library: real shared
// libraries, compiled from C with the structures of nvml.h, that answer with
// recorded evidence. They show that the binding's layouts are those of C.
package nvmltest

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// Recordings of Hopper GPUs.
const (
	sdk       = "nvidia-attestation-sdk/"
	Recording = sdk + "common-test-data/serialized_test_evidence/hopper_evidence_cert_hold.json"
	OfAnother = "secretvm-verify/test-data/gpu_attest.txt"                             // of an existing machine
	Protected = sdk + "common-test-data/serialized_test_evidence/hopper_evidence.json" // in protected PCIe mode, behind switches
)

//go:embed testdata/nvml.c
var source []byte

// Library is a stand-in. Its folder has files that say how it answers: count,
// feature, devtools, environment, accepting, init (numbers), chain and report.
type Library struct {
	t   testing.TB
	dir string
}

// New makes a library of a folder of its own; the test is skipped where there is
// no C compiler.
func New(t testing.TB) *Library {
	t.Helper()
	l := &Library{t, t.TempDir()}
	b, err := compiled()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler: the stand-in for libnvidia-ml.so.1 cannot be made")
	}
	if err != nil {
		t.Fatal(err)
	}
	l.Put(filepath.Base(l.Path()), string(b))
	return l
}

// compiled is the library, compiled once.
var compiled = sync.OnceValues(func() ([]byte, error) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nvmltest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	library := filepath.Join(dir, "nvml.so")
	c := exec.Command(compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-x", "c", "-o", library, "-")
	c.Stdin = bytes.NewReader(source)
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the stand-in: %w: %s", err, out)
	}
	return os.ReadFile(library)
})

// Path is where the library is.
func (l *Library) Path() string { return filepath.Join(l.dir, "libnvidia-ml.so.1") }

// Open loads it.
func (l *Library) Open() (*nvml.Library, error) { return nvml.Open(l.Path()) }

// Put writes one of the files that say how it answers.
func (l *Library) Put(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// Asked is the nonce of the last report.
func (l *Library) Asked() string {
	b, err := os.ReadFile(filepath.Join(l.dir, "asked"))
	if err != nil {
		l.t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// Record has the library answer with a recording, whose nonce is returned.
func (l *Library) Record(name string) (nonce vm.Hash) {
	l.t.Helper()
	type entry struct {
		Nonce                 string
		Evidence, Certificate []byte
	}
	var request struct { // to NVIDIA's service; its SDK has the list alone
		Nonce string
		List  []entry `json:"evidence_list"`
	}
	text := vectors.ReadIfThere(l.t, name)
	if json.Unmarshal(text, &request) != nil {
		if err := json.Unmarshal(text, &request.List); err != nil {
			l.t.Fatal(err)
		}
		request.Nonce = request.List[0].Nonce
	}
	if _, err := hex.Decode(nonce[:], []byte(request.Nonce)); err != nil {
		l.t.Fatal(err)
	}
	l.Put("report", string(request.List[0].Evidence))
	l.Put("chain", string(request.List[0].Certificate))
	return nonce
}
