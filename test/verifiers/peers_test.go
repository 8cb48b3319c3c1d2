package verifiers

import (
	"bufio"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	guest "github.com/google/go-tdx-guest/verify"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// evidence is what every verifier gets: the same bytes, roots and time.
type evidence struct {
	quote      []byte
	collateral vm.Collateral
	root       *x509.Certificate // nil: Intel's
	at         time.Time
}

// pcs serves the evidence's collateral the way Intel's service does, for
// go-tdx-guest, which fetches.
type pcs struct{ c vm.Collateral }

func (p pcs) Get(address string) (map[string][]string, []byte, error) {
	for _, answer := range []struct {
		path, header string
		chain, body  []byte
	}{
		{"/tcb", "Tcb-Info-Issuer-Chain", p.c.TCBInfoChain, p.c.TCBInfo},
		{"/qe/identity", "Sgx-Enclave-Identity-Issuer-Chain", p.c.QEIdentityChain, p.c.QEIdentity},
		{"/pckcrl", "Sgx-Pck-Crl-Issuer-Chain", p.c.PCKCRLChain, p.c.PCKCRL},
		{".crl", "", nil, p.c.RootCACRL},
		{"IntelSGXRootCA", "", nil, p.c.RootCACRL},
	} {
		if strings.Contains(address, answer.path) {
			return map[string][]string{answer.header: {url.QueryEscape(string(answer.chain))}}, answer.body, nil
		}
	}
	return nil, nil, fmt.Errorf("no %s here", address)
}

// goTDXGuest verifies with google/go-tdx-guest.
func goTDXGuest(e evidence) error {
	options := &guest.Options{GetCollateral: true, CheckRevocations: true, Getter: pcs{e.collateral}, Now: e.at}
	if e.root != nil {
		options.TrustedRoots = x509.NewCertPool()
		options.TrustedRoots.AddCert(e.root)
	}
	return guest.RawTdxQuote(e.quote, options)
}

// dcapQVL is a running Node process with @phala/dcap-qvl.
type dcapQVL struct {
	in  *json.Encoder
	out *bufio.Scanner
}

type dcapAnswer struct {
	Status      string
	Error       string
	Nanoseconds float64
}

// startDCAPQVL starts it, or skips the test where the package is not there.
func startDCAPQVL(t testing.TB) dcapQVL {
	t.Helper()
	folder := os.Getenv("SECRETVM_DCAP_QVL")
	if folder == "" {
		t.Skip("SECRETVM_DCAP_QVL names no folder with @phala/dcap-qvl (make bench-verify makes one): skipped")
	}
	cmd := exec.CommandContext(t.Context(), "node", "dcap_qvl.js", folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return dcapQVL{json.NewEncoder(in), lines}
}

// verify asks for a verdict, and for the time of one verification if rounds is
// not zero.
func (d dcapQVL) verify(t testing.TB, e evidence, rounds int) (answer dcapAnswer) {
	t.Helper()
	request := map[string]any{"quote": hex.EncodeToString(e.quote), "collateral": dcapCollateral(t, e.collateral), "at": e.at.Unix(), "rounds": rounds}
	if e.root != nil {
		request["root"] = hex.EncodeToString(e.root.Raw)
	}
	if err := d.in.Encode(request); err != nil {
		t.Fatal(err)
	}
	if !d.out.Scan() {
		t.Fatalf("no answer from dcap-qvl: %v", d.out.Err())
	}
	if err := json.Unmarshal(d.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// dcapCollateral is collateral in the form of dcap-qvl, which keeps signed
// bytes and signatures apart.
func dcapCollateral(t testing.TB, c vm.Collateral) map[string]string {
	t.Helper()
	info, infoSignature, err := collateral.Open(collateral.KeyTCBInfo, c.TCBInfo)
	if err != nil {
		t.Fatal(err)
	}
	identity, identitySignature, err := collateral.Open(collateral.KeyQEIdentity, c.QEIdentity)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"pck_crl_issuer_chain": string(c.PCKCRLChain), "root_ca_crl": hex.EncodeToString(c.RootCACRL), "pck_crl": hex.EncodeToString(c.PCKCRL),
		"tcb_info_issuer_chain": string(c.TCBInfoChain), "tcb_info": string(info), "tcb_info_signature": hex.EncodeToString(infoSignature[:]),
		"qe_identity_issuer_chain": string(c.QEIdentityChain), "qe_identity": string(identity), "qe_identity_signature": hex.EncodeToString(identitySignature[:]),
	}
}

// readDCAPCollateral is the inverse of dcapCollateral, from a file.
func readDCAPCollateral(t testing.TB, name string) (c vm.Collateral) {
	t.Helper()
	var f map[string]string
	if err := json.Unmarshal(read(t, name), &f); err != nil {
		t.Fatal(err)
	}
	bytes := func(key string) []byte {
		b, err := hex.DecodeString(f[key])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return vm.Collateral{
		PCKCRL: bytes("pck_crl"), PCKCRLChain: []byte(f["pck_crl_issuer_chain"]), RootCACRL: bytes("root_ca_crl"),
		TCBInfo:      collateral.Seal(collateral.KeyTCBInfo, []byte(f["tcb_info"]), [64]byte(bytes("tcb_info_signature"))),
		TCBInfoChain: []byte(f["tcb_info_issuer_chain"]), QEIdentityChain: []byte(f["qe_identity_issuer_chain"]),
		QEIdentity: collateral.Seal(collateral.KeyQEIdentity, []byte(f["qe_identity"]), [64]byte(bytes("qe_identity_signature"))),
	}
}

// read reads an independent vector.
func read(t testing.TB, name string) []byte {
	t.Helper()
	const vectors = "../../../shared/vectors/"
	b, err := os.ReadFile(vectors + name)
	if os.IsNotExist(err) {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
