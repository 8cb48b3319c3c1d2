package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

const (
	maxKeysSize = 128 << 10
	maxKeys     = 64
	maxChain    = 6
)

// Keys are what tokens may be signed with.
type Keys struct {
	named []named
	certs []*x509.Certificate // of keys themselves, or of CAs above keys
}

// named is a key of a JWKS document. Its certificate, where given, bounds how
// long it is good.
type named struct {
	id   string
	key  *ecdsa.PublicKey
	cert *x509.Certificate
}

// ParseKeys reads JWKS documents (RFC 7517) and PEM bundles of certificates.
// Keys of other kinds than P-384 are passed over: services publish them side by
// side.
func ParseKeys(sources [][]byte) (k Keys, err error) {
	for i, b := range sources {
		what := fmt.Sprintf("token keys, document %d", i)
		if len(b) > maxKeysSize {
			return k, vm.Refuse(vm.CodeTooLarge, "%s has %d bytes, want at most %d", what, len(b), maxKeysSize)
		}
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
			more, err := parseJWKS(what, b)
			if err != nil {
				return k, err
			}
			k.named = append(k.named, more...)
			continue
		}
		certs, err := pki.ParsePEM(what, b)
		if err != nil {
			return k, err
		}
		k.certs = append(k.certs, certs...)
	}
	if n := len(k.named) + len(k.certs); n == 0 || n > maxKeys {
		return k, vm.Refuse(vm.CodeInvalid, "there are %d token keys on P-384, want 1 to %d", n, maxKeys)
	}
	return k, nil
}

func parseJWKS(what string, b []byte) ([]named, error) {
	var set struct {
		Keys []struct {
			ID    string   `json:"kid"`
			Type  string   `json:"kty"`
			Curve string   `json:"crv"`
			X     string   `json:"x"`
			Y     string   `json:"y"`
			Chain []string `json:"x5c"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%s: no JWKS: %v", what, err)
	}
	var all []named
	for _, k := range set.Keys {
		if k.Type != "EC" || k.Curve != "P-384" {
			continue
		}
		key, err := point(k.X, k.Y)
		if err != nil {
			return nil, vm.Refuse(vm.CodeMalformed, "%s: key %.64q: %v", what, k.ID, err)
		}
		n := named{id: k.ID, key: key}
		if len(k.Chain) > 0 {
			chain, err := parseChain(what, k.Chain[:1])
			if err != nil {
				return nil, err
			}
			if n.cert = chain[0]; !key.Equal(n.cert.PublicKey) {
				return nil, vm.Refuse(vm.CodeMalformed, "%s: key %.64q is not that of its certificate", what, k.ID)
			}
		}
		all = append(all, n)
	}
	return all, nil
}

func point(x, y string) (*ecdsa.PublicKey, error) {
	encoded := []byte{4} // uncompressed
	for _, part := range []string{x, y} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, fmt.Errorf("coordinate: %w", err)
		}
		encoded = append(encoded, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), encoded)
	if err != nil {
		return nil, fmt.Errorf("point: %w", err)
	}
	return key, nil
}

// parseChain reads certificates as x5c has them: standard base64 of DER.
func parseChain(what string, all []string) ([]*x509.Certificate, error) {
	if len(all) > maxChain {
		return nil, vm.Refuse(vm.CodeTooLarge, "%s carries %d certificates, want at most %d", what, len(all), maxChain)
	}
	var certs []*x509.Certificate
	for _, text := range all {
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, vm.Refuse(vm.CodeMalformed, "%s: x5c is not base64", what)
		}
		cert, err := pki.Parse(what, der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// find returns the keys that may have signed a statement with the header: the
// one below a trusted CA that the header's chain certifies, the one with its
// kid, or those of trusted certificates.
func (k Keys) find(check *pki.Checker, h header) ([]*ecdsa.PublicKey, error) {
	if len(h.Chain) > 0 {
		chain, err := parseChain("the token's header", h.Chain)
		if err != nil {
			return nil, err
		}
		return k.below(check, chain)
	}
	var keys []*ecdsa.PublicKey
	for _, n := range k.named {
		if h.KeyID == "" || n.id != h.KeyID {
			continue
		}
		if n.cert != nil {
			if err := check.Window("certificate of the token's key", n.cert.NotBefore, n.cert.NotAfter); err != nil {
				return nil, err
			}
		}
		keys = append(keys, n.key)
	}
	for _, cert := range k.certs {
		if cert.IsCA {
			continue
		}
		if key, err := pki.Key(cert); err == nil && check.Window("certificate of the token's key", cert.NotBefore, cert.NotAfter) == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, vm.Refuse(vm.CodeChain, "the policy trusts no key that may have signed the token").
			On("kid", fmt.Sprintf("%.80q", h.KeyID), "one of the JWKS in the policy").
			Try("the service changes its keys: take its current JWKS into the policy, having checked where it is from")
	}
	return keys, nil
}

// below returns the key of chain[0] if the chain leads to a trusted CA. The CA
// itself may be the chain's last or be left out.
func (k Keys) below(check *pki.Checker, chain []*x509.Certificate) ([]*ecdsa.PublicKey, error) {
	if last := chain[len(chain)-1]; bytes.Equal(last.RawSubject, last.RawIssuer) && len(chain) > 1 {
		chain = chain[:len(chain)-1]
	}
	for _, root := range k.certs {
		if !bytes.Equal(root.RawSubject, chain[len(chain)-1].RawIssuer) {
			continue
		}
		full := append(append([]*x509.Certificate{}, chain...), root)
		if _, err := check.Chain("certificate chain of the token's key", full, k.certs); err != nil {
			return nil, err
		}
		key, err := pki.Key(chain[0])
		return []*ecdsa.PublicKey{key}, err
	}
	return nil, vm.Refuse(vm.CodeChain, "the token's certificates lead to no CA that the policy trusts").
		On("issuer", chain[len(chain)-1].Issuer.CommonName, "one in the policy")
}
