package secretnetwork

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const (
	contract = "secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as"
	codeHash = "5c36abd74f5959dd9e8bcecb2ea308befeaff2a50b9bcbd2338c079266f9f0bf"
	uid      = "00112233445566778899aabbccddeeff"
	height   = "12345"
)

// network is one node of the network with its enclave, and the contract in it.
// It decides as the contract does, for quotes that are report data alone; the
// protocol around it is what is tested.
type network struct {
	t         *testing.T
	url       string
	consensus *ecdh.PrivateKey

	mu     sync.Mutex
	secret string
	env    string
	code   string                                    // that the contract runs
	lie    func(answer map[string]string) (int, any) // nil: honest
	older  bool                                      // the other way of spelling refusals
	asked  []string                                  // questions
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	n := &network{t: t, consensus: private, secret: strings.Repeat("\x11", 32), env: `{"PASSWORD":"swordfish"}`, code: codeHash}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /registration/v1beta1/tx-key", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]string{"key": base64.StdEncoding.EncodeToString(private.PublicKey().Bytes())})
	})
	mux.HandleFunc("GET /compute/v1beta1/code_hash/by_contract_address/{contract}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]string{"code_hash": codeHash})
	})
	mux.HandleFunc("GET /compute/v1beta1/query/"+contract, n.query)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// query is the enclave: it opens the question and seals what the contract says.
func (n *network) query(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text64 := r.URL.Query().Get("query")
	sealed, err := base64.StdEncoding.DecodeString(text64) // the network's gateway takes both alphabets
	if err != nil {
		sealed, err = base64.URLEncoding.DecodeString(text64)
	}
	if err != nil || len(sealed) < 64 {
		answer(w, 400, map[string]any{"code": 3, "message": "illegal base64"})
		return
	}
	public, err := ecdh.X25519().NewPublicKey(sealed[32:64])
	must(n.t, err)
	key, err := queryKey(n.consensus, public, sealed[:32])
	must(n.t, err)
	text, err := open(key, sealed[64:], noData)
	if err != nil || !strings.HasPrefix(string(text), n.code) {
		answer(w, 500, map[string]any{"code": 2, "message": "Execution error: Enclave: failed to decrypt data"})
		return
	}
	out, refusal := n.contract(text[len(n.code):])
	if refusal != "" {
		hidden, err := seal(key, []byte(`{"generic_err":{"msg":"`+refusal+`"}}`), noData)
		must(n.t, err)
		message := "encrypted: " + base64.StdEncoding.EncodeToString(hidden) + ": query contract failed"
		if n.older {
			message = "query contract failed: encrypted: " + base64.StdEncoding.EncodeToString(hidden)
		}
		answer(w, 500, map[string]any{"code": 2, "message": message})
		return
	}
	if n.lie != nil {
		status, v := n.lie(out)
		if v != nil {
			answer(w, status, v)
			return
		}
	}
	plain, err := json.Marshal(out)
	must(n.t, err)
	hidden, err := seal(key, []byte(base64.StdEncoding.EncodeToString(plain)), noData)
	must(n.t, err)
	answer(w, 200, map[string]string{"data": base64.StdEncoding.EncodeToString(hidden)})
}

// contract answers a question as section 4 of the reference says.
func (n *network) contract(question []byte) (out map[string]string, refusal string) {
	var q map[string]struct {
		ServiceID  string `json:"service_id"`
		Quote      []int  `json:"quote"`
		Collateral []int  `json:"collateral"`
		Report     []byte `json:"report"`
		ASK        []byte `json:"ask_pem"`
		VCEK       []byte `json:"vcek_pem"`
	}
	if err := json.Unmarshal(question, &q); err != nil || len(q) != 1 {
		return nil, "parse: " + string(question)
	}
	for name, f := range q {
		n.asked = append(n.asked, name)
		quote := f.Report
		for _, b := range f.Quote {
			quote = append(quote, byte(b))
		}
		switch {
		case f.ServiceID != "guestbook":
			return nil, "Service not found"
		case len(quote) != 64 || hex.EncodeToString(quote[32:48]) != uid || !bytes.Equal(quote[48:], make([]byte, 16)):
			return nil, "Quote does not match"
		case f.Report == nil && (len(f.Collateral) < 32 || f.Collateral[0] != 0x81):
			return nil, "Collateral"
		case f.Report != nil && (!strings.HasPrefix(string(f.ASK), "-----BEGIN CERTIFICATE-----") || !strings.HasPrefix(string(f.VCEK), "-----BEGIN CERTIFICATE-----")):
			return nil, "Certificates"
		}
		plain, field := n.secret, "encrypted_secret_key"
		if strings.HasPrefix(name, "get_env_by_service") {
			plain, field = n.env, "encrypted_secrets_plaintext"
		}
		key, sealed := n.respond(quote, quote[:32], plain)
		return map[string]string{"encryption_pub_key": key, field: sealed}, ""
	}
	return nil, "nothing asked"
}

// respond is the contract's encryption, 4.5 of the reference.
func (n *network) respond(quote, other []byte, plain string) (public, sealed string) {
	seed := sha256.Sum256([]byte(string(quote) + string(other) + plain + height))
	private := fromSeed(n.t, seed[:])
	peer, err := ecdh.X25519().NewPublicKey(other)
	must(n.t, err)
	shared, err := private.ECDH(peer)
	must(n.t, err)
	b, err := seal(shared, []byte(plain), noData)
	must(n.t, err)
	return hex.EncodeToString(private.PublicKey().Bytes()), hex.EncodeToString(b)
}

// fromSeed makes the key that both contract and guest make of a seed: X25519
// clamps SHA-256 of it.
func fromSeed(t *testing.T, seed []byte) *ecdh.PrivateKey {
	t.Helper()
	scalar := sha256.Sum256(seed)
	private, err := ecdh.X25519().NewPrivateKey(scalar[:])
	must(t, err)
	return private
}

func (n *network) config() vm.Config {
	return vm.Config{
		Version: 1, ComposeHash: vm.Hash{1}, Service: contract + "/guestbook", InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
		KMS: vm.KMS{ChainID: "secret-4", Provider: vm.ProviderSecretNetwork, Contract: &vm.Contract{
			CodeHash: codeHash, ConsensusKey: hex.EncodeToString(n.consensus.PublicKey().Bytes()),
		}},
	}
}

// echo is a TEE whose quote is the report data.
type echo struct{ evidence vm.Evidence }

func (e echo) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	e.evidence.Quote = reportData[:]
	return e.evidence, nil
}

func tdx() echo {
	return echo{vm.Evidence{TEE: vm.TDX, Collateral: &vm.Collateral{PCKCRL: []byte{1}, RootCACRL: []byte{2}, TCBInfo: []byte("{}")}}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
