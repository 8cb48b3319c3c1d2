package endorsement_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// july is inside the validity of the real collateral below.
var july = time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)

const fmspc = "b0c06f000000"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// realCollateral is what Intel served in June 2025 for FMSPC B0C06F000000, or
// another file of dcap-qvl, which keeps the signed object and its signature
// apart.
func realCollateral(t testing.TB, name string) vm.Collateral {
	t.Helper()
	var f map[string]string
	if err := json.Unmarshal(vectors.Read(t, "dcap-qvl/sample/"+name), &f); err != nil {
		t.Fatal(err)
	}
	return vm.Collateral{
		PCKCRL: unhex(t, f["pck_crl"]), PCKCRLChain: []byte(f["pck_crl_issuer_chain"]), RootCACRL: unhex(t, f["root_ca_crl"]),
		TCBInfo:      collateral.Seal(collateral.KeyTCBInfo, []byte(f["tcb_info"]), [64]byte(unhex(t, f["tcb_info_signature"]))),
		TCBInfoChain: []byte(f["tcb_info_issuer_chain"]), QEIdentityChain: []byte(f["qe_identity_issuer_chain"]),
		QEIdentity: collateral.Seal(collateral.KeyQEIdentity, []byte(f["qe_identity"]), [64]byte(unhex(t, f["qe_identity_signature"]))),
	}
}

// older is real collateral of the same FMSPC from February 2025, from the blob
// that Secret Network's chain takes: eight u32, then NUL-terminated parts.
func older(t testing.TB) vm.Collateral {
	t.Helper()
	blob := unhex(t, string(bytes.Trim(vectors.Read(t, "secret-vm-kms/tests/collateral.txt"), "\"\n ")))
	rest := blob[32:]
	var parts [7][]byte
	for i := range parts {
		size := binary.LittleEndian.Uint32(blob[4+4*i:])
		parts[i] = bytes.TrimRight(rest[:size], "\x00")
		rest = rest[size:]
	}
	return vm.Collateral{
		PCKCRLChain: parts[0], RootCACRL: unhex(t, string(parts[1])), PCKCRL: unhex(t, string(parts[2])),
		TCBInfoChain: parts[3], TCBInfo: parts[4], QEIdentityChain: parts[5], QEIdentity: parts[6],
	}
}

// quote is the real quote that goes with realCollateral.
func quote(t testing.TB) []byte {
	return vectors.Read(t, "dcap-qvl/sample/tdx_quote")
}

// bed is services that serve real collateral, and options to use them.
type bed struct {
	*endorsementtest.Services
	cache   *store.Folder
	options endorsement.Options
}

func newBed(t testing.TB) bed {
	t.Helper()
	s := endorsementtest.Start(t)
	s.PutIntel("tdx", fmspc, "platform", "", realCollateral(t, "tdx_quote_collateral.json"))
	cache, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := bed{Services: s, cache: cache}
	b.options = endorsement.Options{Addresses: s.Addresses(), Cache: cache, Time: july, Client: hasty()}
	return b
}

// hasty asks as the real client does, with short pauses.
func hasty() *transport.Client {
	return &transport.Client{Pause: time.Millisecond, Patience: 2 * time.Second, Timeout: 5 * time.Second}
}

// refused checks that err is a refusal with the code, a reason and a hint.
func refused(t testing.TB, err error, code vm.Code, words ...string) {
	t.Helper()
	var r *vm.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is no refusal", err)
	}
	if r.Code != code || r.Hint == "" {
		t.Errorf("refused with code %s and hint %q: %v; want %s", r.Code, r.Hint, err, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("refusal does not say %q: %v", word, err)
		}
	}
}

func complete(t testing.TB, o endorsement.Options) vm.Evidence {
	t.Helper()
	ev := vm.Evidence{TEE: vm.TDX, Quote: quote(t)}
	if err := endorsement.Complete(context.Background(), &ev, o); err != nil {
		t.Fatal(err)
	}
	return ev
}
