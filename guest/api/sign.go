package api

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// signer is one key that signs messages.
type signer struct {
	sign   func(message []byte) []byte
	public []byte // as vm.SigningReportData takes it
	spki   []byte // SubjectPublicKeyInfo, DER
}

// String keeps the key out of logs.
func (signer) String() string { return "redacted" }

// newSigners makes the signers that a config grants to anybody.
func newSigners(cfg vm.Config, source Keys) (map[string]signer, error) {
	out := map[string]signer{}
	for _, name := range cfg.API.KeyNames() {
		kind, ok := strings.CutPrefix(name, vm.GrantSign)
		if !ok {
			continue
		}
		seed, err := source.Key(name, cfg.KMS.Epoch)
		if err != nil {
			return nil, fmt.Errorf("key that signs: %w", err)
		}
		out[kind], err = newSigner(kind, seed)
		clear(seed)
		if err != nil {
			return nil, fmt.Errorf("key that signs: %w", err)
		}
	}
	return out, nil
}

// spkiSecp256k1 is what comes before the uncompressed point in the DER of a
// SubjectPublicKeyInfo (RFC 5480, 2; SEC 2: secp256k1 is 1.3.132.0.10), which
// package x509 does not write for this curve.
var spkiSecp256k1 = []byte{
	0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a, 0x03, 0x42, 0x00,
}

// newSigner makes the signer of a kind whose private key is seed, 32 bytes: the
// seed of RFC 8032, or a scalar, big-endian and modulo the order of the curve.
func newSigner(kind string, seed []byte) (signer, error) {
	if kind == vm.SignEd25519 {
		private := ed25519.NewKeyFromSeed(seed)
		public := private.Public().(ed25519.PublicKey)
		spki, err := x509.MarshalPKIXPublicKey(public)
		return signer{func(message []byte) []byte { return ed25519.Sign(private, message) }, public, spki}, err
	}
	private := secp256k1.PrivKeyFromBytes(seed)
	if private.Key.IsZero() {
		return signer{}, vm.Refuse(vm.CodeInternal, "the key manager's secret is no scalar")
	}
	return signer{
		func(message []byte) []byte {
			digest := sha256.Sum256(message)
			return ecdsa.Sign(private, digest[:]).Serialize() // RFC 6979, low S, DER
		},
		private.PubKey().SerializeCompressed(),
		append(slices.Clone(spkiSecp256k1), private.PubKey().SerializeUncompressed()...),
	}, nil
}

// Public lists the keys that sign messages.
func (s *Server) Public() []proof.Public {
	keys := []proof.Public{}
	for kind, key := range s.signers {
		keys = append(keys, proof.Public{Kind: kind, Raw: key.public, PEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.spki})})
	}
	return keys
}

// answerPublicKey gives the public key of a kind and a quote about it.
func (s *Server) answerPublicKey(r request) (any, error) {
	kind, err := s.kind(r, r.URL.Query().Get("key_type"))
	if err != nil {
		return nil, err
	}
	answer, err := s.quote(r.Context(), proof.Question{For: proof.ForSigning, Kind: kind})
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.signers[kind].spki})
	return guestapi.PublicKey{KeyType: kind, PEM: string(text), Evidence: answer.Evidence}, err
}

// answerSign signs a payload, as it is or in a domain of the container's choice.
func (s *Server) answerSign(r request) (any, error) {
	var q guestapi.SignRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	kind, err := s.kind(r, q.KeyType)
	if err != nil {
		return nil, err
	}
	message := []byte(q.Payload)
	switch {
	case q.Domain != nil:
		message = vm.SignedMessage(r.service, *q.Domain, message)
	case strings.Contains(q.Payload, vm.LabelSigned):
		// Else a service could sign what another service's domain stands for.
		return nil, vm.Refuse(vm.CodeInvalid, "a payload without a domain may not contain %q", vm.LabelSigned)
	}
	return guestapi.Signature{Signature: s.signers[kind].sign(message)}, nil
}

// kind is the kind of key that is asked for, secp256k1 unless it is said, if the
// service may use it.
func (s *Server) kind(r request, kind string) (string, error) {
	if kind == "" {
		kind = vm.SignSecp256k1
	}
	if kind != vm.SignEd25519 && kind != vm.SignSecp256k1 {
		return "", vm.Refuse(vm.CodeInvalid, "there is no such kind of key").On("key_type", fmt.Sprintf("%.20q", kind), vm.SignEd25519+" or "+vm.SignSecp256k1)
	}
	return kind, s.need(r, vm.GrantSign+kind)
}
