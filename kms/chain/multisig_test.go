package chain_test

import (
	"encoding/json"
	"strings"
	"testing"

	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
)

// TestMultisigOwner: an SDK multisig key of two of three owns a service. Each
// signs apart, in any order; one alone, or one who signed something else, does
// nothing.
func TestMultisigOwner(t *testing.T) {
	w := softWorld(t)
	var members [3]signer.Account
	var keys []string
	for i := range members {
		var err error
		members[i], err = signer.New()
		must(t, err)
		keys = append(keys, members[i].Public().Keys[0])
	}
	owner, err := signer.NewMultisig(2, keys)
	must(t, err)
	again, err := signer.NewMultisig(2, []string{keys[2], keys[0], keys[1]})
	must(t, err)
	if again.Address != owner.Address || !strings.HasPrefix(owner.Address, "svm1") {
		t.Errorf("the same keys make %s and %s", owner.Address, again.Address)
	}
	admit := &counciltypes.MsgAdmit{Sender: w.owner.Address, Addresses: []string{owner.Address}}
	if code, text := w.send(w.owner, admit, &counciltypes.MsgAdmitResponse{}); code != "" {
		t.Fatal(code, text)
	}
	prepare := func(name string) signer.Unsigned {
		ctx, err := w.app.Read()
		must(t, err)
		b, err := w.app.Addresses.StringToBytes(owner.Address)
		must(t, err)
		a := w.app.Accounts.GetAccount(ctx, b)
		at := wire.Account{ChainID: chainID, Number: a.GetAccountNumber(), Sequence: a.GetSequence()}
		u, err := signer.Prepare(w.app.Encoding, owner, at, gas, &types.MsgCreateService{Owner: owner.Address, Name: name})
		must(t, err)
		// The document travels as a file.
		file, err := json.Marshal(u)
		must(t, err)
		var read signer.Unsigned
		must(t, json.Unmarshal(file, &read))
		return read
	}
	sign := func(u signer.Unsigned, who ...int) (out []signer.Signature) {
		for _, i := range who {
			s, err := members[i].SignApart(t.Context(), w.app.Encoding, u)
			must(t, err)
			out = append(out, s)
		}
		return out
	}
	for i, pair := range [][]int{{0, 1}, {2, 0}, {1, 2}, {0, 1, 2}} {
		u := prepare("web" + string(rune('a'+i)))
		tx, err := signer.Combine(t.Context(), w.app.Encoding, u, sign(u, pair...))
		must(t, err)
		if r := w.block(tx)[0]; r.Code != 0 {
			t.Fatalf("members %v: %s", pair, r.Log)
		}
	}

	u := prepare("refused")
	if _, err := signer.Combine(t.Context(), w.app.Encoding, u, sign(u, 1)); err == nil || !strings.Contains(err.Error(), "want 2") {
		t.Errorf("one signature of two: %v", err)
	}
	if _, err := signer.Combine(t.Context(), w.app.Encoding, u, append(sign(u, 1), sign(prepare("other"), 0)...)); err == nil || !strings.Contains(err.Error(), keys[0]) {
		t.Errorf("a signature over something else: %v", err)
	}
	if _, err := w.owner.SignApart(t.Context(), w.app.Encoding, u); err == nil {
		t.Error("a stranger signed")
	}
	// The chain finds out by itself as well: one member signs twice, or the
	// threshold is written lower than the address says.
	tx, err := signer.Combine(t.Context(), w.app.Encoding, u, append(sign(u, 1), sign(u, 1)...))
	if err == nil {
		if r := w.block(tx)[0]; r.Code == 0 {
			t.Error("one member counted twice")
		}
	}
	lower := u
	lower.Signer.Threshold = 1
	if _, err := signer.Combine(t.Context(), w.app.Encoding, lower, sign(u, 1)); err == nil {
		t.Error("a lower threshold has another address, and was not noticed")
	}
}

func TestMultisigKeys(t *testing.T) {
	a, err := signer.New()
	must(t, err)
	key := a.Public().Keys[0]
	for name, tt := range map[string]struct {
		threshold int
		keys      []string
	}{
		"no keys":        {1, nil},
		"threshold zero": {0, []string{key}},
		"too high":       {2, []string{key}},
		"twice":          {1, []string{key, key}},
		"no key":         {1, []string{"00"}},
		"uncompressed":   {1, []string{"04" + key[2:]}},
		"too many":       {1, []string{key, key, key, key, key, key, key, key}},
	} {
		if _, err := signer.NewMultisig(tt.threshold, tt.keys); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}
