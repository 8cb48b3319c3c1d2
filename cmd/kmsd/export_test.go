package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/vm"
)

// at is the same command line of another home.
func (k *kmsd) at(home string) *kmsd { return &kmsd{t: k.t, home: home, pki: k.pki} }

// copied copies a home.
func (k *kmsd) copied() *kmsd {
	k.t.Helper()
	to := filepath.Join(k.t.TempDir(), "copy")
	must(k.t, os.CopyFS(to, os.DirFS(k.home)))
	return k.at(to)
}

// alter replaces a text in every value of a home's application state whose key
// begins as given.
func (k *kmsd) alter(begin, from, to string) {
	k.t.Helper()
	db, err := dbm.NewDB("application", dbm.GoLevelDBBackend, filepath.Join(k.home, "data"))
	must(k.t, err)
	entries, err := db.Iterator([]byte(begin), []byte(begin+"\xff"))
	must(k.t, err)
	var keys, values [][]byte
	for ; entries.Valid(); entries.Next() {
		if v := bytes.Clone(entries.Value()); bytes.Contains(v, []byte(from)) {
			keys, values = append(keys, bytes.Clone(entries.Key())), append(values, bytes.ReplaceAll(v, []byte(from), []byte(to)))
		}
	}
	must(k.t, entries.Close())
	if len(keys) == 0 {
		k.t.Fatalf("no entry below %q has %q", begin, from)
	}
	for i := range keys {
		must(k.t, db.SetSync(keys[i], values[i]))
	}
	must(k.t, db.Close())
}

// TestK10_AlteredCopiesAreRefused: an export is what the validators signed, the
// same from every copy, and the chain goes on from it. Who writes another image
// into a copy of the state gets no export of it.
func TestK10_AlteredCopiesAreRefused(t *testing.T) {
	k := newKmsd(t)
	rootFile := filepath.Join(t.TempDir(), "dev-root.pem")
	must(t, os.WriteFile(rootFile, k.pki.RootPEM(), 0o600))
	var made node.Made
	k.run(0, &made, "init", "--chain-id", "export-1", "--trust-root", rootFile)
	process, r := k.start()
	cfg := k.register(made)
	key, session := k.disk(r.API, cfg)
	must(t, session.Advance(t.Context(), 1))
	var refused vm.Refusal
	k.run(4, &refused, "export")
	if refused.Code != vm.CodeUnavailable || refused.Hint == "" {
		t.Errorf("while the node runs: %+v", refused)
	}
	must(t, process.Process.Kill())
	_ = process.Wait()

	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	copied, other := k.copied(), k.copied()
	var first, second, older node.Exported
	k.run(0, &first, "export", "--output", file("a"))
	copied.run(0, &second, "export", "--output", file("b"))
	if first.SHA256 != second.SHA256 || first.SHA256.IsZero() {
		t.Errorf("two copies give %+v and %+v", first, second)
	}
	if first.Signed != 1 || first.Of != 1 || first.ChainID != "export-1" || first.Header.Height < first.Height {
		t.Errorf("export is %+v", first)
	}
	trusted := fmt.Sprintf("%d:%s", first.Height-1, first.Header.Hash)
	copied.run(1, &refused, "export", "--output", file("c"), "--trusted-header", trusted)
	if refused.Code != vm.CodeSignature {
		t.Errorf("another trusted header: %+v", refused)
	}
	copied.run(0, &older, "export", "--output", file("d"), "--height", fmt.Sprint(first.Height-1))
	copied.run(0, nil, "export", "--output", file("e"), "--trusted-header", fmt.Sprintf("%d:%s", older.Header.Height, older.Header.Hash))
	copied.run(1, &refused, "export", "--height", fmt.Sprint(first.Height+1))
	if older.Height != first.Height-1 || refused.Code != vm.CodeInvalid {
		t.Errorf("older export is %+v, a future one %+v", older, refused)
	}
	other.alter("s/k:kms/", "test", "evil")
	other.run(1, &refused, "export", "--output", file("f"))
	if refused.Code != vm.CodeSignature || refused.Hint == "" {
		t.Errorf("altered copy: %+v", refused)
	}

	// Genesis and share are enough to go on.
	genesis, err := os.ReadFile(file("a"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(k.home, "config", "genesis.json"), genesis, 0o600))
	must(t, os.RemoveAll(filepath.Join(k.home, "data")))
	must(t, os.MkdirAll(filepath.Join(k.home, "data"), 0o700))
	must(t, os.WriteFile(filepath.Join(k.home, "keys", "signed.json"), []byte(`{"height":"0","round":0,"step":0}`), 0o600)) // all nodes begin anew
	_, r = k.start()
	if r.Height <= first.Height {
		t.Errorf("the chain goes on with block %d, and the export is of %d", r.Height, first.Height)
	}
	again, session := k.disk(r.API, cfg)
	if again != key || session.Grant().Generation != 1 {
		t.Errorf("the same key: %t, generation %d", again == key, session.Grant().Generation)
	}
	var p proven
	k.run(0, &p, "query", "kms", "image", "--service", "web", "--prove")
	if !json.Valid(p.Entry) || string(p.Entry) == "null" || p.Header.Height <= first.Height {
		t.Errorf("proven from the export: %+v", p)
	}
}
