package secretnetwork

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// integers are bytes that are spelt as a JSON array of numbers.
type integers []byte

// MarshalJSON implements json.Marshaler.
func (b integers) MarshalJSON() ([]byte, error) {
	out := make([]int, len(b))
	for i, v := range b {
		out[i] = int(v)
	}
	return json.Marshal(out)
}

// tdxQuestion and amdQuestion are the fields of every question that shows evidence.
type tdxQuestion struct {
	ServiceID  string   `json:"service_id"`
	Quote      integers `json:"quote"`
	Collateral integers `json:"collateral"`
}

type amdQuestion struct {
	ServiceID string `json:"service_id"`
	Report    []byte `json:"report"`
	ASK       []byte `json:"ask_pem"` // base64 of the PEM text
	VCEK      []byte `json:"vcek_pem"`
}

// ask names a question of the contract about a service, by what it gives: the
// machine's TEE chooses the spelling.
func ask(name, service string, ev vm.Evidence) ([]byte, error) {
	if ev.TEE == vm.SNP {
		if ev.AMD == nil {
			return nil, errors.New("the machine has no certificates of AMD for its report")
		}
		block, _ := pem.Decode(ev.AMD.Chain)
		if block == nil {
			return nil, errors.New("the machine's certificate chain of AMD is not PEM")
		}
		vcek := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ev.AMD.EndorsementKey})
		return json.Marshal(map[string]any{name + "_amd": amdQuestion{service, ev.Quote, pem.EncodeToMemory(block), vcek}})
	}
	if ev.Collateral == nil {
		return nil, errors.New("the machine has no collateral for its quote")
	}
	return json.Marshal(map[string]any{name: tdxQuestion{service, ev.Quote, encodeCollateral(*ev.Collateral)}})
}

// encodeCollateral is the layout that the network's enclaves read: eight uint32,
// little-endian (0x81 for TDX, then the sizes of the blobs), and the blobs, each
// with a NUL behind it. CRLs are spelt in hex.
func encodeCollateral(c vm.Collateral) []byte {
	crl := func(der []byte) []byte { return []byte(hex.EncodeToString(der)) }
	blobs := [][]byte{
		c.PCKCRLChain, crl(c.RootCACRL), crl(c.PCKCRL), c.TCBInfoChain, c.TCBInfo, c.QEIdentityChain, c.QEIdentity,
	}
	out := binary.LittleEndian.AppendUint32(nil, 0x81)
	for _, b := range blobs {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b)+1))
	}
	for _, b := range blobs {
		out = append(append(out, b...), 0)
	}
	return out
}

// decodeCollateral undoes encodeCollateral, for what a collateral service gives.
func decodeCollateral(b []byte) (c vm.Collateral, err error) {
	if len(b) > vm.MaxCollateralSize || len(b) < 32 || binary.LittleEndian.Uint32(b) != 0x81 {
		return c, fmt.Errorf("collateral of %d bytes is not that of a TDX quote", len(b))
	}
	rest := b[32:]
	var rootCRL, pckCRL []byte
	for i, to := range []*[]byte{&c.PCKCRLChain, &rootCRL, &pckCRL, &c.TCBInfoChain, &c.TCBInfo, &c.QEIdentityChain, &c.QEIdentity} {
		size := int64(binary.LittleEndian.Uint32(b[4+4*i:]))
		if size < 1 || size > int64(len(rest)) || bytes.IndexByte(rest[:size], 0) != int(size)-1 {
			return c, fmt.Errorf("part %d of the collateral has no end, or more than one", i)
		}
		*to = rest[: size-1 : size-1]
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return c, errors.New("bytes trail the collateral")
	}
	if c.RootCACRL, err = hex.DecodeString(string(rootCRL)); err == nil {
		c.PCKCRL, err = hex.DecodeString(string(pckCRL))
	}
	if err != nil {
		return c, errors.New("a CRL of the collateral is not hex")
	}
	return c, nil
}

// labelDisk separates the disk key from every other use of a service's secret.
const labelDisk = "secretvm/v1/secret-network/disk"

// diskInfo names the disk of one instance; every instance of a service is given
// the same secret.
func diskInfo(service, instanceID string) string {
	h := sha256.New()
	for _, part := range []string{labelDisk, service, instanceID} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part))) // a hash never fails
		h.Write([]byte(part))
	}
	return string(h.Sum(nil))
}
