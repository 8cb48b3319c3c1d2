package nvidiatest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
)

// Issuer is who the PKI's service says it is.
const Issuer = "https://nras.attestation.nvidia.com"

// KeyID names the service's key.
const KeyID = "development-1"

// Claims of a statement.
type Claims map[string]any

// Token is the service's word about devices, valid for an hour from the PKI's
// time, with the statements changed before they are signed; name is "" for the
// one about all.
func (p *PKI) Token(nonce []byte, devices []*Device, change func(name string, header, claims Claims)) ([]byte, error) {
	each, submods := map[string]string{}, Claims{}
	for i, d := range devices {
		name := fmt.Sprintf("GPU-%d", i)
		claims := p.claims(nonce)
		maps.Copy(claims, Claims{
			"ueid": d.Serial(), "measres": "success", "secboot": true, "dbgstat": "disabled", "hwmodel": d.Chip,
			"x-nvidia-gpu-driver-version": Driver, "x-nvidia-gpu-vbios-version": VBIOS, "x-nvidia-gpu-arch-check": true,
			"x-nvidia-gpu-driver-rim-cert-chain": Claims{"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good"},
		})
		compact, err := p.JWT(name, claims, change)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256([]byte(compact))
		each[name], submods[name] = compact, []any{"DIGEST", []string{"SHA-256", hex.EncodeToString(digest[:])}}
	}
	claims := p.claims(nonce)
	claims["x-nvidia-overall-att-result"], claims["submods"] = true, submods
	overall, err := p.JWT("", claims, change)
	if err != nil {
		return nil, err
	}
	return marshal([]any{[]string{"JWT", overall}, each})
}

func (p *PKI) claims(nonce []byte) Claims {
	return Claims{
		"iss": Issuer, "eat_nonce": hex.EncodeToString(nonce),
		"iat": p.At.Unix(), "nbf": p.At.Unix(), "exp": p.At.Unix() + 3600,
	}
}

// JWT signs one statement.
func (p *PKI) JWT(name string, claims Claims, change func(name string, header, claims Claims)) (string, error) {
	header := Claims{"alg": "ES384", "kid": KeyID}
	if change != nil {
		change(name, header, claims)
	}
	head, err := marshal(header)
	if err != nil {
		return "", err
	}
	body, err := marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding
	signed := text.EncodeToString(head) + "." + text.EncodeToString(body)
	signature, err := sign(p.Service.Key, []byte(signed))
	return signed + "." + text.EncodeToString(signature), err
}

// JWKS is the service's key, as services publish theirs.
func (p *PKI) JWKS() ([]byte, error) {
	point, err := p.Service.Key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("key of the service: %w", err)
	}
	text := base64.RawURLEncoding
	return marshal(Claims{"keys": []Claims{
		{"kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB"},
		{
			"kty": "EC", "crv": "P-384", "kid": KeyID, "use": "sig", "x": text.EncodeToString(point[1:49]), "y": text.EncodeToString(point[49:]),
			"x5c": []string{base64.StdEncoding.EncodeToString(p.Service.Cert.Raw)},
		},
	}})
}

func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	return b, nil
}
