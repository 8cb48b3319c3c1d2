package secretnetwork

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func release(t *testing.T, q Quoter, config vm.Config, endpoints ...string) (*Session, error) {
	t.Helper()
	c, err := New(endpoints, config)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	return c.Release(ctx, q)
}

func TestRelease(t *testing.T) {
	n := newNetwork(t)
	snp := echo{vm.Evidence{TEE: vm.SNP, AMD: &vm.AMDCollateral{
		EndorsementKey: []byte("der"), Chain: []byte("-----BEGIN CERTIFICATE-----\nYXNr\n-----END CERTIFICATE-----\n"),
	}}}
	for name, q := range map[string]Quoter{"get_secret_key": tdx(), "get_secret_key_amd": snp} {
		n.asked = nil
		s, err := release(t, q, n.config(), n.url)
		must(t, err)
		if string(s.secret) != n.secret || s.DiskKey() == ([32]byte{}) || len(n.asked) != 1 || n.asked[0] != name {
			t.Errorf("%s: secret %x, asked %q", name, s.secret, n.asked)
		}
		if env, err := s.Environment(); env != nil || err != nil {
			t.Errorf("environment that was not measured: %v, %v", env, err)
		}
		if text := fmt.Sprintf("%v %+v %x %s", s, s, s, s); strings.Contains(text, "11") {
			t.Errorf("the session prints %s", text)
		}
	}
	cfg := n.config()
	cfg.Env = []string{"PASSWORD"}
	a, err := release(t, tdx(), cfg, n.url)
	must(t, err)
	if env, err := a.Environment(); err != nil || env["PASSWORD"] != "swordfish" {
		t.Errorf("environment is %d variables, %v", len(env), err)
	}
	n.secret = hex.EncodeToString([]byte(n.secret)) // as the contract keeps a machine's
	b, err := release(t, tdx(), n.config(), n.url)
	must(t, err)
	if a.DiskKey() != b.DiskKey() {
		t.Error("two boots have two disk keys")
	}
	if diskInfo(cfg.Service, uid) == diskInfo(cfg.Service, strings.Repeat("0", 32)) {
		t.Error("two instances have one disk key")
	}
	b.Close()
	if b.DiskKey() != ([32]byte{}) {
		t.Error("Close leaves the key")
	}
}

// TestK3_ForeignEnclaves: whoever does not have the pinned consensus key, or runs
// other code, cannot answer, whatever a node puts in their place.
func TestK3_ForeignEnclaves(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, n *network){
		"another network": func(t *testing.T, n *network) {
			private, err := ecdh.X25519().GenerateKey(rand.Reader)
			must(t, err)
			n.consensus = private
		},
		"other code": func(_ *testing.T, n *network) { n.code = strings.Repeat("0", 64) },
		"plain answer": func(_ *testing.T, n *network) {
			n.lie = func(out map[string]string) (int, any) {
				b, _ := json.Marshal(out)
				return 200, map[string]string{"data": base64.StdEncoding.EncodeToString(b)}
			}
		},
		"made-up refusal": func(_ *testing.T, n *network) {
			n.lie = func(map[string]string) (int, any) {
				return 500, map[string]string{"message": "encrypted: " + base64.StdEncoding.EncodeToString(make([]byte, 40)) + ": no"}
			}
		},
		"empty": func(_ *testing.T, n *network) {
			n.lie = func(map[string]string) (int, any) { return 200, map[string]string{} }
		},
		"array": func(_ *testing.T, n *network) { n.lie = func(map[string]string) (int, any) { return 200, []int{1} } },
		"endless": func(_ *testing.T, n *network) {
			n.lie = func(map[string]string) (int, any) { return 200, strings.Repeat("x", maxAnswer+1) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newNetwork(t), newNetwork(t)
			cfg := bad.config()
			change(t, bad)
			if s, err := release(t, tdx(), cfg, bad.url); err == nil {
				t.Fatalf("the machine took %x", s.secret)
			}
			bad.consensus = good.consensus
			if name == "another network" {
				return
			}
			s, err := release(t, tdx(), good.config(), bad.url, "http://127.0.0.1:1", good.url)
			must(t, err)
			if string(s.secret) != good.secret {
				t.Errorf("secret is %x", s.secret)
			}
		})
	}
}

// TestContractRefuses: what the contract itself says ends the boot at once.
func TestContractRefuses(t *testing.T) {
	n := newNetwork(t)
	cfg := n.config()
	cfg.Service = contract + "/other"
	for _, n.older = range []bool{false, true} {
		n.asked = nil
		_, err := release(t, tdx(), cfg, n.url)
		if vm.CodeOf(err) != vm.CodePermission || !strings.Contains(err.Error(), "Service not found") || len(n.asked) != 1 {
			t.Errorf("error is %v, asked %d times", err, len(n.asked))
		}
	}
	n.secret = "short"
	if _, err := release(t, tdx(), n.config(), n.url); vm.CodeOf(err) != vm.CodeMalformed {
		t.Errorf("a short secret: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	n := newNetwork(t)
	other := n.config()
	other.KMS = vm.KMS{ChainID: "a", GroupKey: strings.Repeat("8a", 96)}
	low := n.config()
	low.KMS.Contract = &vm.Contract{CodeHash: codeHash, ConsensusKey: "zz"}
	for name, tt := range map[string]struct {
		config    vm.Config
		endpoints []string
	}{
		"another provider": {other, []string{"http://a"}}, "no key": {low, []string{"http://a"}},
		"no node": {n.config(), []string{"http://a" + CollateralPath}},
	} {
		if _, err := New(tt.endpoints, tt.config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestCollateralService: a machine on TDX has no collateral of its own.
func TestCollateralService(t *testing.T) {
	n := newNetwork(t)
	bare := echo{vm.Evidence{TEE: vm.TDX}}
	if _, err := release(t, bare, n.config(), n.url); vm.CodeOf(err) != vm.CodeCollateral {
		t.Errorf("without a service: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dcap-tools"+CollateralPath, func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Quote string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Quote) != 128 {
			t.Errorf("asked for %q, %v", q.Quote, err)
		}
		answer(w, 200, map[string]string{"collateral": hex.EncodeToString(encodeCollateral(*tdx().evidence.Collateral))})
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	if _, err := release(t, bare, n.config(), n.url, s.URL+"/dcap-tools"+CollateralPath); err != nil {
		t.Error(err)
	}
}

// TestAnswerVector: how the contract encrypts, against numbers that were computed
// with another library.
func TestAnswerVector(t *testing.T) {
	var file struct {
		Response struct {
			Seed       string `json:"guest_seed"`
			Public     string `json:"guest_pub"`
			Secret     string `json:"secret"`
			Key        string `json:"encryption_pub_key"`
			Quote      string `json:"quote_ascii"`
			Ciphertext string `json:"ciphertext_one_empty_ad"`
		} `json:"kms_response"`
	}
	must(t, json.Unmarshal(vectors.Read(t, "vectors.json"), &file))
	v := file.Response
	private := fromSeed(t, unhex(t, v.Seed))
	if got := hex.EncodeToString(private.PublicKey().Bytes()); got != v.Public {
		t.Fatalf("public key is %s, want %s", got, v.Public)
	}
	got, err := openSecret(private, v.Key, v.Ciphertext)
	if err != nil || hex.EncodeToString(got) != v.Secret {
		t.Errorf("secret is %x, %v, want %s", got, err, v.Secret)
	}
	n := &network{t: t}
	key, sealed := n.respond([]byte(v.Quote), unhex(t, v.Public), string(unhex(t, v.Secret)))
	if key != v.Key || sealed != v.Ciphertext {
		t.Errorf("the tests' contract answers %s under %s", sealed, key)
	}
}

// TestCollateralSample: the layout, against what the contract's own tests hold.
func TestCollateralSample(t *testing.T) {
	raw := unhex(t, strings.TrimSpace(string(vectors.Read(t, "secret-vm-kms/tests/collateral.txt"))))
	c, err := decodeCollateral(raw)
	must(t, err)
	if !strings.Contains(string(c.TCBInfo), `"tcbInfo"`) || !strings.Contains(string(c.QEIdentity), `"enclaveIdentity"`) {
		t.Errorf("TCB info is %.40s, QE identity %.40s", c.TCBInfo, c.QEIdentity)
	}
	if got := encodeCollateral(c); string(got) != string(raw) && !strings.EqualFold(string(got), string(raw)) {
		t.Errorf("%d bytes come back as %d others", len(raw), len(got))
	}
}

func FuzzDecodeCollateral(f *testing.F) {
	f.Add(encodeCollateral(*tdx().evidence.Collateral))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCollateral(b)
		if err != nil {
			return
		}
		if again := encodeCollateral(c); !strings.EqualFold(string(again), string(b)) {
			t.Errorf("%x comes back as %x", b, again)
		}
	})
}
