package secretnetwork

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// secretjs runs the network's own client, which is fetched once by the lock in
// testdata and kept in the cache. Without node, npm or a registry the test skips.
func secretjs(t *testing.T, question any) map[string]json.RawMessage {
	t.Helper()
	folder := fetchSecretjs(t)
	in, err := json.Marshal(question)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(folder, "ask.cjs"))
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("secretjs: %v: %s", err, exit.Stderr)
	}
	var answer map[string]json.RawMessage
	must(t, json.Unmarshal(out, &answer))
	return answer
}

func fetchSecretjs(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("secretjs, the independent implementation, was not asked: %v", err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("secretjs was not asked: %v", err)
	}
	digest := sha256.New()
	names := []string{"package.json", "package-lock.json", "ask.cjs"}
	files := make([][]byte, len(names))
	for i, name := range names {
		files[i], err = os.ReadFile(filepath.Join("testdata", "secretjs", name))
		must(t, err)
		digest.Write(files[i])
	}
	folder := filepath.Join(cache, "secretvm", "secretjs-"+hex.EncodeToString(digest.Sum(nil))[:16])
	done := filepath.Join(folder, "complete")
	if _, err := os.Stat(done); err == nil {
		return folder
	}
	must(t, os.MkdirAll(folder, 0o755))
	for i, name := range names {
		must(t, os.WriteFile(filepath.Join(folder, name), files[i], 0o644))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("secretjs was not asked, it cannot be fetched: %v: %.300s", err, out)
	}
	must(t, os.WriteFile(done, nil, 0o644))
	return folder
}

// TestSecretjsEncrypts: what secretjs encrypts for the enclaves, ours for the
// same key pair and nonce is, byte for byte.
func TestSecretjsEncrypts(t *testing.T) {
	seed := bytes.Repeat([]byte{0x42}, 32)
	enclave := fromSeed(t, []byte("enclave"))
	message := map[string]any{"get_service": map[string]string{"id": "caf\u00e9"}}
	out := secretjs(t, map[string]any{
		"seed": hex.EncodeToString(seed), "io": hex.EncodeToString(enclave.PublicKey().Bytes()), "code_hash": codeHash, "message": message,
	})
	var text string
	must(t, json.Unmarshal(out["sealed"], &text))
	theirs := unhex(t, text)
	private, err := ecdh.X25519().NewPrivateKey(seed)
	must(t, err)
	ours, err := encryptQuestion(private, theirs[:nonceSize], enclave.PublicKey(), codeHash, []byte(`{"get_service":{"id":"café"}}`))
	must(t, err)
	if !bytes.Equal(ours.sealed, theirs) {
		t.Errorf("ours\n%x\ntheirs\n%x", ours.sealed, theirs)
	}
}

// TestSecretjsAsks: secretjs and our client ask the same network, and both open
// what its contract answers; so the network of these tests is one to secretjs.
func TestSecretjsAsks(t *testing.T) {
	n := newNetwork(t)
	private := fromSeed(t, []byte("machine"))
	about, err := vm.ContractReportData(private.PublicKey().Bytes(), uid)
	must(t, err)
	ev, err := tdx().Quote(t.Context(), about)
	must(t, err)
	message, err := ask("get_secret_key", "guestbook", ev)
	must(t, err)
	q := map[string]any{"url": n.url, "contract": contract, "code_hash": codeHash, "query": json.RawMessage(message)}
	out := secretjs(t, q)
	var fields map[string]string
	if err := json.Unmarshal(out["answer"], &fields); err != nil {
		t.Fatalf("secretjs understands %s", out)
	}
	secret, err := openSecret(private, fields["encryption_pub_key"], fields["encrypted_secret_key"])
	if err != nil || string(secret) != n.secret {
		t.Errorf("secret is %x, %v", secret, err)
	}
	q["query"] = map[string]any{"get_secret_key": map[string]any{"service_id": "other"}}
	if out := secretjs(t, q); !bytes.Contains(out["answer"], []byte("Service not found")) && !bytes.Contains(out["error"], []byte("Service not found")) {
		t.Errorf("a refusal reads %s", out)
	}
}
