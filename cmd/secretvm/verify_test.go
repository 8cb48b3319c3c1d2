package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// TestVerify runs the stories in testdata/verify. In each, $URL is the
// attestation service of a soft machine, whose files lie in the working
// folder; $FILES_URL is that of one with a files archive (its files are in
// with-files/), and nothing listens at $CLOSED.
func TestVerify(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/verify",
		Setup: func(env *testscript.Env) error {
			m := machinetest.Boot(t)
			m.Write(t, env.WorkDir)
			writeEvidence(t, m, env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			_, url := m.Serve(t, nil)
			env.Setenv("URL", url)
			env.Setenv("GROUP_KEY", m.Config.KMS.GroupKey)

			asking := machinetest.Boot(t, func(s *machinetest.Spec) {
				s.Compose = []byte("x-secretvm: { images: tag, api: { web: [quote, event], other: [info] } }\nservices: { web: { image: a }, other: { image: a } }\n")
			})
			asked := filepath.Join(env.WorkDir, "asked")
			if err := os.Mkdir(asked, 0o700); err != nil {
				return err
			}
			asking.Write(t, asked)
			writeContainer(t, asking, asked)

			archived := machinetest.Boot(t, func(s *machinetest.Spec) { s.Files = []byte("an archive") })
			dir := filepath.Join(env.WorkDir, "with-files")
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			archived.Write(t, dir)
			_, url = archived.Serve(t, nil)
			env.Setenv("FILES_URL", url)

			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Setenv("CLOSED", "https://"+l.Addr().String())
			return l.Close()
		},
		Cmds: scriptCommands,
	})
}

// writeEvidence keeps what m says in files: with and without what belongs to it.
func writeEvidence(t *testing.T, m *machinetest.Machine, dir string) {
	t.Helper()
	key, nonce := vm.HashOf([]byte("key")), make([]byte, verification.NonceSize)
	ev, err := m.TEE.Quote(vm.AttestationReportData(key, nonce))
	if err != nil {
		t.Fatal(err)
	}
	ev.Events = m.Events
	for name, v := range map[string]any{
		"attestation.json": vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: key, Evidence: ev},
		"evidence.json":    ev,
		"collateral.json":  ev.Collateral,
		"quote.hex":        nil,
		"fake.zip":         nil,
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "quote.hex":
			b = []byte(hex.EncodeToString(ev.Quote))
		case "fake.zip":
			b = []byte("PK\x03\x04 and no more")
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// writeContainer keeps what a container of m gets, and what m says of its
// containers, in files: also changed ones.
func writeContainer(t *testing.T, m *machinetest.Machine, dir string) {
	t.Helper()
	data, nonce := []byte("hello"), make([]byte, 16)
	events := []vm.Event{vm.ApplicationEvent("web", "model-loaded", []byte("llama 3")), vm.ApplicationEvent("web", "ready", nil)}
	register, err := vm.ReplayApplication(events)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(reportData [64]byte) vm.Evidence {
		ev, err := m.TEE.Quote(reportData)
		if err != nil {
			t.Fatal(err)
		}
		ev.Events = m.Events
		return ev
	}
	about := quote(vm.ApplicationReportData(register, data))
	for name, v := range map[string]any{
		"quote.json":      guestapi.Quote{Data: hex.EncodeToString(data), Evidence: quote(vm.WorkloadReportData(data))},
		"log.json":        guestapi.Quote{Data: hex.EncodeToString(data), Evidence: about, ApplicationRegister: &register, ApplicationEvents: events},
		"everybody.json":  vm.Application{Nonce: hex.EncodeToString(nonce), Register: register, Events: events, Evidence: quote(vm.ApplicationReportData(register, nonce))},
		"shorter.json":    guestapi.Quote{Data: hex.EncodeToString(data), Evidence: about, ApplicationRegister: &register, ApplicationEvents: events[:1]},
		"relabelled.json": guestapi.Quote{Data: hex.EncodeToString(data), Evidence: about},
		"long.json":       guestapi.Quote{Data: strings.Repeat("00", 65), Evidence: about},
	} {
		b, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// exitCode reads the exit code from the error of an ended process.
func exitCode(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &exit):
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}

// TestVerifyJSON holds the document to its names, which scripts rely on.
func TestVerifyJSON(t *testing.T) {
	m := machinetest.Boot(t)
	dir := t.TempDir()
	m.Write(t, dir)
	_, url := m.Serve(t, nil)
	var out, progress strings.Builder
	code := run(t.Context(), []string{
		"verify", url, "--json", "--compose", filepath.Join(dir, machinetest.ComposeName), "--image", dir,
		"--service", m.Config.Service, "--kms", m.Config.KMS.GroupKey, "--trust-root", filepath.Join(dir, machinetest.RootName),
	}, strings.NewReader(""), &out, &progress)
	if code != exitOK || progress.String() != "" {
		t.Fatalf("exit code %d, stderr %q, stdout %s", code, progress.String(), out.String())
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"url": url, "verdict": verification.Verified, "soft": true} {
		if doc[name] != want {
			t.Errorf("%s is %v, want %v", name, doc[name], want)
		}
	}
	for _, name := range []string{"time", "summary", "warnings", "anchor", "tls_key", "machine"} {
		if doc[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	checks, _ := doc["checks"].([]any)
	if len(checks) != 11 {
		t.Fatalf("%d checks, want 11", len(checks))
	}
	for _, c := range checks {
		check, _ := c.(map[string]any)
		if check["ok"] != true || check["name"] == "" || check["what"] == "" || check["detail"] == "" {
			t.Errorf("check %v", check)
		}
	}
	if anchor, _ := doc["anchor"].(map[string]any); anchor["intel"] != false || anchor["sha256"] != vm.HashOf(m.PKI.Root.Cert.Raw).String() {
		t.Errorf("anchor %v", anchor)
	}
}
