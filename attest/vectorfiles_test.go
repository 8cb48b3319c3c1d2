package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

func haveVectors() bool {
	_, err := os.Stat(vectors)
	return err == nil
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	if !haveVectors() {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	b, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readHex(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(strings.Trim(string(read(t, name)), "\"\r\n "), "0x"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// dcapCollateral reads the JSON form of dcap-qvl, which keeps the signed
// object and its signature apart.
func dcapCollateral(t testing.TB, name string) *vm.Collateral {
	t.Helper()
	var f map[string]string
	if err := json.Unmarshal(read(t, name), &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &vm.Collateral{
		PCKCRL: unhex(t, f["pck_crl"]), PCKCRLChain: []byte(f["pck_crl_issuer_chain"]), RootCACRL: unhex(t, f["root_ca_crl"]),
		TCBInfo:      collateral.Seal(collateral.KeyTCBInfo, []byte(f["tcb_info"]), [64]byte(unhex(t, f["tcb_info_signature"]))),
		TCBInfoChain: []byte(f["tcb_info_issuer_chain"]), QEIdentityChain: []byte(f["qe_identity_issuer_chain"]),
		QEIdentity: collateral.Seal(collateral.KeyQEIdentity, []byte(f["qe_identity"]), [64]byte(unhex(t, f["qe_identity_signature"]))),
	}
}

// kmsCollateral reads the blob that Secret Network's chain takes: eight u32,
// TEE type and seven lengths, then NUL-terminated parts; CRLs are hex text.
func kmsCollateral(t testing.TB, name string) *vm.Collateral {
	t.Helper()
	blob := readHex(t, name)
	rest := blob[32:]
	parts := make([][]byte, 7)
	for i := range parts {
		size := binary.LittleEndian.Uint32(blob[4+4*i:])
		parts[i] = bytes.TrimRight(rest[:size], "\x00")
		rest = rest[size:]
	}
	return &vm.Collateral{
		PCKCRLChain: parts[0], RootCACRL: unhex(t, string(parts[1])), PCKCRL: unhex(t, string(parts[2])),
		TCBInfoChain: parts[3], TCBInfo: parts[4], QEIdentityChain: parts[5], QEIdentity: parts[6],
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with returns base with the parts that over names replaced.
func with(base *vm.Collateral, over vm.Collateral) *vm.Collateral {
	c := *base
	for _, p := range []struct {
		to   *[]byte
		from []byte
	}{{&c.PCKCRL, over.PCKCRL}, {&c.RootCACRL, over.RootCACRL}, {&c.TCBInfo, over.TCBInfo}, {&c.QEIdentity, over.QEIdentity}} {
		if p.from != nil {
			*p.to = p.from
		}
	}
	return &c
}

// intelSample is the TDX quote of Intel's own library with the certificate
// chain put in, which that library is given separately. The chain is outside
// what the quote signs.
func intelSample(t testing.TB) []byte {
	t.Helper()
	q, err := tdx.Decode(read(t, intel+"quote.dat"))
	if err != nil {
		t.Fatal(err)
	}
	signers := read(t, intel+"pckSignChain.pem") // root, then CA
	const begin = "-----BEGIN CERTIFICATE-----"
	ca := signers[bytes.LastIndex(signers, []byte(begin)):]
	q.Signature.PCKChain = bytes.Join([][]byte{read(t, intel+"pckCert.pem"), ca, read(t, intel+"trustedRootCaCert.pem")}, []byte("\n"))
	return tdx.Encode(q)
}

func encodePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
