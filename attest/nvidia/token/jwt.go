package token

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

// header is that of a JWT (RFC 7515, 4.1).
type header struct {
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Chain     []string        `json:"x5c"`
	Critical  json.RawMessage `json:"crit"`
}

// claims of any statement (RFC 7519, 4.1; RFC 9711, 4.1). Times are in seconds.
type claims struct {
	Issuer    string `json:"iss"`
	Nonce     string `json:"eat_nonce"`
	Expires   *int64 `json:"exp"`
	NotBefore int64  `json:"nbf"`
	IssuedAt  int64  `json:"iat"`
}

// statement is one JWT whose signature, issuer, nonce and times hold.
type statement struct {
	claims
	all map[string]json.RawMessage
}

// open checks a compact JWT.
func (o Options) open(check *pki.Checker, what, compact string) (s statement, err error) {
	signed, signature, ok := cutLast(compact, ".")
	head, payload, two := strings.Cut(signed, ".")
	if !ok || !two || strings.Contains(payload, ".") {
		return s, malformed("%s is no compact JWT", what)
	}
	var h header
	if err := decode(what+", header", head, &h); err != nil {
		return s, err
	}
	if h.Algorithm != "ES384" || len(h.Critical) > 0 {
		return s, vm.Refuse(vm.CodeSignature, "%s is signed in a way that is not accepted", what).On("alg", short(h.Algorithm), "ES384")
	}
	keys, err := o.Keys.find(check, h)
	if err != nil {
		return s, err
	}
	mark, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return s, malformed("signature of %s is not base64url", what)
	}
	if err := anySigned(what, signed, mark, keys); err != nil {
		return s, err
	}
	if err := decode(what, payload, &s.claims); err != nil {
		return s, err
	}
	if err := decode(what, payload, &s.all); err != nil {
		return s, err
	}
	return s, o.current(check, what, s.claims)
}

func anySigned(what, signed string, signature []byte, keys []*ecdsa.PublicKey) (err error) {
	for _, key := range keys {
		if err = pki.Signed(what, []byte(signed), signature, key); err == nil {
			return nil
		}
	}
	return err
}

// current refuses statements of another issuer, about another nonce, or not
// valid now. A token ends in the very second of exp.
func (o Options) current(check *pki.Checker, what string, c claims) error {
	if c.Issuer != o.Issuer {
		return vm.Refuse(vm.CodeChain, "%s is of another issuer", what).On("iss", short(c.Issuer), o.Issuer)
	}
	if want := nonceText(o.Nonce); !strings.EqualFold(c.Nonce, want) {
		return vm.Refuse(vm.CodeStale, "%s answers another nonce", what).On("eat_nonce", short(c.Nonce), want)
	}
	if c.Expires == nil || *c.Expires < 0 || *c.Expires > maxSeconds {
		return malformed("%s does not say when it expires", what)
	}
	from := max(c.NotBefore, c.IssuedAt, 0)
	if from > maxSeconds {
		return malformed("%s is from a time that is none", what)
	}
	return check.Window(what, time.Unix(from, 0), time.Unix(*c.Expires-1, 0))
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

func decode(what, part string, to any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		return malformed("%s: %v", what, err)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func short(s string) string { return s[:min(len(s), 80)] }
