package recovery

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys"
)

// TestLabelsAreConstant: a backup must open years later.
func TestLabelsAreConstant(t *testing.T) {
	if labelBackup != "secretvm/v1/recovery-backup" || labelPiece != "secretvm/v1/recovery-piece" {
		t.Errorf("labels are %q and %q", labelBackup, labelPiece)
	}
}

// TestBackupIsPinned opens a backup that was made once, as any two of its three
// members.
func TestBackupIsPinned(t *testing.T) {
	text, err := os.ReadFile("testdata/backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Identities    []string
		Share, Backup string
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	encoded, err := hex.DecodeString(v.Backup)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBackup(encoded)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := hex.DecodeString(v.Share)
	if err != nil {
		t.Fatal(err)
	}
	want, err := keys.ParseShare(2, secret)
	if err != nil {
		t.Fatal(err)
	}
	subject := Subject{ChainID: "chain-1", Epoch: 1, Round: 4, Node: 2, Public: want.Public()}
	if err := b.Check(subject, 2, 3); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
		identities, err := age.ParseIdentities(strings.NewReader(v.Identities[pair[0]] + "\n" + v.Identities[pair[1]]))
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := b.Open(identities...)
		if err != nil || len(pieces) != 2 {
			t.Fatalf("%d pieces, %v", len(pieces), err)
		}
		dealers, parts := make([]uint32, len(pieces)), make([]keys.Share, len(pieces))
		for i, p := range pieces {
			dealers[i], parts[i] = p.share.Index, p.share
			parts[i].Index = 2
		}
		got, err := keys.InterpolateShares(dealers, parts)
		if err != nil || got != want {
			t.Fatalf("members %v: %v", pair, err)
		}
	}
}
