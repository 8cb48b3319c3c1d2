package endorsement

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/endorsement/transport"
)

// reader takes an answer apart: the object, and the issuer chain beside it.
type reader = func(*transport.Answer) (body, chain []byte, err error)

// Headers of issuer chains, PCS API v4. The first one that is there counts:
// services differ in what they call that of TCB info.
var (
	headersTCBInfo    = []string{"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}
	headersQEIdentity = []string{"SGX-Enclave-Identity-Issuer-Chain"}
	headersPCKCRL     = []string{"SGX-PCK-CRL-Issuer-Chain"}
)

func readTCBInfo(a *transport.Answer) (body, chain []byte, err error) {
	if _, _, err := collateral.Open(collateral.KeyTCBInfo, a.Body); err != nil {
		return nil, nil, err
	}
	chain, err = issuerChain(a.Header, headersTCBInfo)
	return a.Body, chain, err
}

func readQEIdentity(a *transport.Answer) (body, chain []byte, err error) {
	if _, _, err := collateral.Open(collateral.KeyQEIdentity, a.Body); err != nil {
		return nil, nil, err
	}
	chain, err = issuerChain(a.Header, headersQEIdentity)
	return a.Body, chain, err
}

func readPCKCRL(a *transport.Answer) (body, chain []byte, err error) {
	if body, err = decodeCRL(a.Body); err != nil {
		return nil, nil, err
	}
	chain, err = issuerChain(a.Header, headersPCKCRL)
	return body, chain, err
}

func readRootCRL(a *transport.Answer) (body, chain []byte, err error) {
	body, err = decodeCRL(a.Body)
	return body, nil, err
}

// issuerChain reads a chain that travels percent-encoded in a header.
func issuerChain(h http.Header, names []string) ([]byte, error) {
	for _, name := range names {
		value := h.Get(name)
		if value == "" {
			continue
		}
		chain, err := decodeChain(value)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		return chain, nil
	}
	return nil, fmt.Errorf("the header %s is missing", names[0])
}

// decodeChain undoes the encoding of a chain. A plus sign is a character of
// base64, unless spaces came as plus signs too, as a form would encode them.
func decodeChain(value string) ([]byte, error) {
	decode := url.PathUnescape
	if strings.HasPrefix(value, "-----BEGIN+CERTIFICATE-----") {
		decode = url.QueryUnescape
	}
	text, err := decode(value)
	if err != nil {
		return nil, err
	}
	if _, err := pki.ParsePEM("issuer chain", []byte(text)); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// decodeCRL reads a CRL in DER, which a PCCS writes in hexadecimal digits, or
// in PEM, which PCS gives unless asked for DER. It returns DER.
func decodeCRL(b []byte) ([]byte, error) {
	if wholeCRL(b) == nil {
		return b, nil
	}
	text := bytes.Trim(b, "\" \t\r\n\x00")
	if der, err := hex.DecodeString(string(text)); err == nil && len(der) > 0 {
		return der, wholeCRL(der)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("neither DER, nor that in hexadecimal, nor PEM")
	}
	return block.Bytes, wholeCRL(block.Bytes)
}

// wholeCRL is an error unless der is one CRL and nothing else.
func wholeCRL(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err == nil && len(list.Raw) != len(der) {
		err = errors.New("there are bytes behind the CRL")
	}
	return err
}
