package chain_test

import (
	"bytes"
	"testing"

	"github.com/secretvm/secretvm/kms/chain"
)

// TestRootIsTheAppHash: what is computed from the entries is what blocks say.
func TestRootIsTheAppHash(t *testing.T) {
	w, _ := eventful(t)
	hashes := map[int64][]byte{}
	for range 3 {
		w.block()
		hashes[w.height] = w.app.LastCommitID().Hash
	}
	read, err := chain.Open(w.db, chainID, 0)
	must(t, err)
	for height, want := range hashes {
		got, err := read.Root(height)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("after block %d: %x, want %x", height, got, want)
		}
	}
	if _, err := read.Root(w.height + 1); err == nil {
		t.Error("the state of a block that is not there has a hash")
	}

	// An entry that is altered below the tree's hashes changes it.
	needle := []byte("test image")
	altered := 0
	entries, err := w.db.Iterator(nil, nil)
	must(t, err)
	var keys, values [][]byte
	for ; entries.Valid(); entries.Next() {
		if v := bytes.Clone(entries.Value()); bytes.Contains(v, needle) {
			keys, values = append(keys, bytes.Clone(entries.Key())), append(values, bytes.ReplaceAll(v, needle, []byte("evil image")))
		}
	}
	must(t, entries.Close())
	for i := range keys {
		must(t, w.db.Set(keys[i], values[i]))
		altered++
	}
	read, err = chain.Open(w.db, chainID, 0)
	must(t, err)
	got, err := read.Root(w.height)
	must(t, err)
	if altered == 0 || bytes.Equal(got, hashes[w.height]) || !bytes.Equal(read.LastCommitID().Hash, hashes[w.height]) {
		t.Errorf("%d entries were altered: computed %x, stored %x", altered, got, read.LastCommitID().Hash)
	}
}
