package token_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/token"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

var (
	now   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	nonce = bytes.Repeat([]byte{5}, 32)
)

type bed struct {
	*nvidiatest.PKI
	gpu     *nvidiatest.Device
	options token.Options
	facts   vm.GPUFacts
}

func newBed(t testing.TB) bed {
	t.Helper()
	p, err := nvidiatest.New(now)
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := p.Device("gpu", "GH100")
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := p.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseKeys([][]byte{jwks})
	if err != nil {
		t.Fatal(err)
	}
	return bed{
		p, gpu,
		token.Options{Keys: keys, Issuer: token.NVIDIA, Nonce: nonce, Time: now.Add(time.Minute)},
		vm.GPUFacts{Kind: "gpu", Driver: nvidiatest.Driver, Firmware: nvidiatest.VBIOS},
	}
}

func (b bed) token(t testing.TB, change func(name string, header, claims nvidiatest.Claims)) []byte {
	t.Helper()
	raw, err := b.Token(nonce, []*nvidiatest.Device{b.gpu}, change)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestGenuine(t *testing.T) {
	b := newBed(t)
	s, err := token.Open(b.token(t, nil), b.options)
	if err != nil {
		t.Fatal(err)
	}
	if s.Issuer != token.NVIDIA || !s.Until.Equal(now.Add(time.Hour-time.Second)) {
		t.Errorf("statement of %s until %v", s.Issuer, s.Until)
	}
	if err := s.VouchesFor(b.gpu.Serial(), b.facts); err != nil {
		t.Error(err)
	}
	other := b.facts
	other.Driver = "1.0"
	for name, err := range map[string]error{
		"another device": s.VouchesFor("1", b.facts), "another driver": s.VouchesFor(b.gpu.Serial(), other),
	} {
		if vm.CodeOf(err) != vm.CodeGPUMeasured {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	b := newBed(t)
	forger := newBed(t)
	all := func(claim string, value any) func(string, nvidiatest.Claims, nvidiatest.Claims) {
		return func(_ string, _, claims nvidiatest.Claims) { claims[claim] = value }
	}
	device := func(claim string, value any) func(string, nvidiatest.Claims, nvidiatest.Claims) {
		return func(name string, _, claims nvidiatest.Claims) {
			if name != "" {
				claims[claim] = value
			}
		}
	}
	header := func(field string, value any) func(string, nvidiatest.Claims, nvidiatest.Claims) {
		return func(_ string, header, _ nvidiatest.Claims) { header[field] = value }
	}
	for _, row := range []struct {
		name  string
		token []byte
		late  time.Duration
		want  vm.Code
	}{
		{"another key of the same id", forger.token(t, nil), 0, vm.CodeSignature},
		{"unknown key", b.token(t, header("kid", "other")), 0, vm.CodeChain},
		{"no key id", b.token(t, func(_ string, h, _ nvidiatest.Claims) { delete(h, "kid") }), 0, vm.CodeChain},
		{"no algorithm", b.token(t, header("alg", "none")), 0, vm.CodeSignature},
		{"HMAC under the public key", b.token(t, header("alg", "HS256")), 0, vm.CodeSignature},
		{"critical header", b.token(t, header("crit", []string{"x"})), 0, vm.CodeSignature},
		{"certificates of a stranger", b.token(t, header("x5c", []string{base64.StdEncoding.EncodeToString(forger.Service.Cert.Raw)})), 0, vm.CodeChain},
		{"another issuer", b.token(t, all("iss", "https://nras.example")), 0, vm.CodeChain},
		{"another issuer of a part", b.token(t, device("iss", "x")), 0, vm.CodeChain},
		{"another nonce", b.token(t, all("eat_nonce", strings.Repeat("00", 32))), 0, vm.CodeStale},
		{"another nonce in a part", b.token(t, device("eat_nonce", "")), 0, vm.CodeStale},
		{"expired", b.token(t, nil), 2 * time.Hour, vm.CodeExpired},
		{"in its last second", b.token(t, nil), time.Hour - time.Minute, vm.CodeExpired},
		{"of the future", b.token(t, nil), -time.Hour, vm.CodeExpired},
		{"part expired", b.token(t, device("exp", now.Unix()-1)), 0, vm.CodeExpired},
		{"never expires", b.token(t, func(_ string, _, c nvidiatest.Claims) { delete(c, "exp") }), 0, vm.CodeMalformed},
		{"expires beyond time", b.token(t, all("exp", int64(1)<<60)), 0, vm.CodeMalformed},
		{"overall result", b.token(t, all("x-nvidia-overall-att-result", false)), 0, vm.CodeGPUMeasured},
		{"overall result as text", b.token(t, all("x-nvidia-overall-att-result", "true")), 0, vm.CodeGPUMeasured},
		{"another digest", b.token(t, func(name string, _, c nvidiatest.Claims) {
			if name == "" {
				c["submods"] = map[string]any{"GPU-0": []any{"DIGEST", []string{"SHA-256", hex.EncodeToString(nonce)}}}
			}
		}), 0, vm.CodeSignature},
		{"no digests", b.token(t, all("submods", nvidiatest.Claims{})), 0, vm.CodeSignature},
		{"part left out", b.parts(t, func(_ string, parts map[string]string) { delete(parts, "GPU-0") }), 0, vm.CodeMalformed},
		{"part added", b.parts(t, func(overall string, parts map[string]string) { parts["GPU-1"] = overall }), 0, vm.CodeSignature},
		{"part exchanged", b.parts(t, func(overall string, parts map[string]string) { parts["GPU-0"] = overall }), 0, vm.CodeSignature},
		{"no token", []byte("{}"), 0, vm.CodeMalformed},
		{"no JWT", []byte(`[["JWT","a.b"],{"GPU-0":"a.b.c"}]`), 0, vm.CodeMalformed},
		{"too large", make([]byte, 1<<20), 0, vm.CodeTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := b.options
			o.Time = o.Time.Add(row.late)
			_, err := token.Open(row.token, o)
			var r *vm.Refusal
			if !errors.As(err, &r) || r.Code != row.want {
				t.Fatalf("%v, want a refusal with %s", err, row.want)
			}
		})
	}
	for name, change := range map[string]func(string, nvidiatest.Claims, nvidiatest.Claims){
		"measurements": device("measres", "fail"), "debug": device("dbgstat", "enabled"), "secure boot": device("secboot", nil),
		"any check": device("x-nvidia-gpu-arch-check", false),
		"revoked":   device("x-nvidia-gpu-vbios-rim-cert-chain", nvidiatest.Claims{"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "revoked"}),
		"expired":   device("x-nvidia-gpu-vbios-rim-cert-chain", nvidiatest.Claims{"x-nvidia-cert-status": "expired", "x-nvidia-cert-ocsp-status": "good"}),
	} {
		s, err := token.Open(b.token(t, change), b.options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.VouchesFor(b.gpu.Serial(), b.facts); vm.CodeOf(err) != vm.CodeGPUMeasured {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// parts changes the statements about devices without signing anything anew.
func (b bed) parts(t *testing.T, change func(overall string, parts map[string]string)) []byte {
	t.Helper()
	var whole [2]json.RawMessage
	var overall [2]string
	var parts map[string]string
	if err := errors.Join(json.Unmarshal(b.token(t, nil), &whole), json.Unmarshal(whole[0], &overall), json.Unmarshal(whole[1], &parts)); err != nil {
		t.Fatal(err)
	}
	change(overall[1], parts)
	raw, err := json.Marshal([]any{overall, parts})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestKeys: a key may be trusted as a JWKS entry, a certificate, or through a
// CA above the certificates in a token's header.
func TestKeys(t *testing.T) {
	b := newBed(t)
	authority, err := b.Issue(nvidiatest.Template(now, "service CA", true), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Service, err = b.Issue(nvidiatest.Template(now, "service", false), &authority); err != nil {
		t.Fatal(err)
	}
	chain := func(certs ...*x509.Certificate) []byte {
		var x5c []string
		for _, c := range certs {
			x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
		}
		return b.token(t, func(_ string, header, _ nvidiatest.Claims) { header["x5c"] = x5c })
	}
	jwks, err := b.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		keys  []byte
		token []byte
		late  time.Duration
		want  vm.Code
	}{
		{"JWKS", jwks, b.token(t, nil), 0, ""},
		{"certificate of the key", nvidiatest.PEM(b.Service.Cert), b.token(t, nil), 0, ""},
		{"CA, chain with it", nvidiatest.PEM(authority.Cert), chain(b.Service.Cert, authority.Cert), 0, ""},
		{"CA, chain without it", nvidiatest.PEM(authority.Cert), chain(b.Service.Cert), 0, ""},
		{"CA, no chain", nvidiatest.PEM(authority.Cert), b.token(t, nil), 0, vm.CodeChain},
		{"another CA", nvidiatest.PEM(b.DeviceRoot.Cert), chain(b.Service.Cert), 0, vm.CodeChain},
		{"the CA's own certificate as the key's", nvidiatest.PEM(authority.Cert), chain(authority.Cert), 0, vm.CodeChain},
		{"certificate has ended", nvidiatest.PEM(b.Service.Cert), b.token(t, nil), 60 * 24 * time.Hour, vm.CodeChain},
		{"certificate in the JWKS has ended", jwks, b.token(t, nil), 60 * 24 * time.Hour, vm.CodeExpired},
	} {
		keys, err := token.ParseKeys([][]byte{row.keys})
		if err != nil {
			t.Fatal(err)
		}
		o := b.options
		o.Keys, o.Time = keys, o.Time.Add(row.late)
		if _, err = token.Open(row.token, o); (err == nil) != (row.want == "") || err != nil && vm.CodeOf(err) != row.want {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
	for name, raw := range map[string]string{
		"nothing": ``, "no P-384 key": `{"keys":[{"kty":"RSA"}]}`, "no JSON": `{`, "point off the curve": `{"keys":[{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}]}`,
		"certificate of another key": strings.Replace(string(jwks), `"x5c":["`, `"x5c":["`+base64.StdEncoding.EncodeToString(authority.Cert.Raw)+`","`, 1),
	} {
		if _, err := token.ParseKeys([][]byte{[]byte(raw)}); err == nil {
			t.Errorf("keys with %s are accepted", name)
		}
	}
}

// TestLayout opens NVIDIA's sample as far as that is possible: its key was
// never published with it.
func TestLayout(t *testing.T) {
	raw := vectors.ReadIfThere(t, "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/hopperClaimsv3_detached_eat.json")
	b := newBed(t)
	if _, err := token.Open(raw, b.options); vm.CodeOf(err) != vm.CodeChain || !strings.Contains(err.Error(), "nv-eat-kid-prod-20250609211310110") {
		t.Errorf("%v, want the key to be unknown", err)
	}
}

func FuzzOpen(f *testing.F) {
	b := newBed(f)
	f.Add(b.token(f, nil))
	f.Add([]byte(`[["JWT","e30.e30.AA"],{"GPU-0":"e30.e30.AA"}]`))
	stranger := newBed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, err := token.Open(raw, stranger.options)
		if err == nil || vm.CodeOf(err) == vm.CodeInternal {
			t.Fatalf("a token that nobody signed: %v", err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	b := newBed(f)
	jwks, err := b.JWKS()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(jwks)
	f.Add(nvidiatest.PEM(b.Service.Cert))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := token.ParseKeys([][]byte{raw}); err != nil && vm.CodeOf(err) == vm.CodeInternal {
			t.Fatalf("no refusal: %v", err)
		}
	})
}
