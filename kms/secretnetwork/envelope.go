package secretnetwork

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// hkdfSalt is the network's, of transactions and queries.
var hkdfSalt, _ = hex.DecodeString("000000000000000000024bead8df69990852c202db0e0097c1a12ea637d7e96d")

const nonceSize = 32

// noData is the associated data of every message: one item, and that empty.
var noData = []byte{}

// question is one encrypted query. Its key opens the answer, too.
type question struct {
	key    []byte
	sealed []byte // nonce ‖ public key ‖ AES-SIV(key, code hash in hex ‖ JSON), with one empty item of associated data
}

// newQuestion encrypts a message to the enclaves that have the private part of
// consensus. The code hash is part of the message: an enclave that runs other
// code under the same address refuses it.
func newQuestion(consensus *ecdh.PublicKey, codeHash string, message []byte) (*question, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("encrypt the question: %w", err)
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("encrypt the question: %w", err)
	}
	return encryptQuestion(private, nonce, consensus, codeHash, message)
}

func encryptQuestion(private *ecdh.PrivateKey, nonce []byte, consensus *ecdh.PublicKey, codeHash string, message []byte) (*question, error) {
	key, err := queryKey(private, consensus, nonce)
	if err != nil {
		return nil, fmt.Errorf("encrypt the question: %w", err)
	}
	sealed, err := seal(key, append([]byte(codeHash), message...), noData)
	if err != nil {
		return nil, fmt.Errorf("encrypt the question: %w", err)
	}
	return &question{key, append(append(append([]byte{}, nonce...), private.PublicKey().Bytes()...), sealed...)}, nil
}

// queryKey is HKDF-SHA-256(X25519 ‖ nonce, hkdfSalt), 32 bytes.
func queryKey(private *ecdh.PrivateKey, public *ecdh.PublicKey, nonce []byte) ([]byte, error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	return hkdf.Key(sha256.New, append(shared, nonce...), hkdfSalt, "", keySize)
}

// open decrypts what the contract answered: base64 text of the contract's JSON.
func (q *question) open(sealed []byte) ([]byte, error) {
	text, err := open(q.key, sealed, noData)
	if err != nil {
		return nil, fmt.Errorf("the contract's answer: %w", err)
	}
	answer, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return nil, errors.New("the contract's answer is not base64")
	}
	return answer, nil
}

// openSecret decrypts what the contract sealed to the key in a quote's report
// data: hex of AES-SIV under the bare X25519 secret with the contract's public
// key, with one empty item of associated data.
func openSecret(private *ecdh.PrivateKey, contractKey, sealed string) ([]byte, error) {
	raw, err := hex.DecodeString(contractKey)
	if err != nil {
		return nil, errors.New("encryption_pub_key is not hex")
	}
	public, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("encryption_pub_key: %w", err)
	}
	ciphertext, err := hex.DecodeString(sealed)
	if err != nil {
		return nil, errors.New("the secret is not hex")
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("encryption_pub_key: %w", err)
	}
	defer clear(shared)
	return open(shared, ciphertext, noData)
}
