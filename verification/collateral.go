package verification

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// MaxCollateralFile bounds a file of collateral, in bytes: parts within vm's
// bound, in hexadecimal.
const MaxCollateralFile = 4 * vm.MaxCollateralSize

// ParseCollateral reads Intel's collateral in the forms that are about: the
// JSON of vm.Collateral, the JSON of dcap-qvl (signed object and signature
// apart), and Secret Network's blob, raw or in hexadecimal. Nothing in it is
// believed; verification checks every signature.
func ParseCollateral(b []byte) (*vm.Collateral, error) {
	if len(b) > MaxCollateralFile {
		return nil, vm.Refuse(vm.CodeTooLarge, "the collateral has %d bytes, want at most %d", len(b), MaxCollateralFile)
	}
	text := bytes.TrimSpace(b)
	if len(text) > 0 && text[0] == '{' {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, badCollateral("%.200q", err.Error())
		}
		if fields["tcb_info_signature"] != nil {
			return parseSplit(fields)
		}
		var c vm.Collateral
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil {
			return nil, badCollateral("%.200q", err.Error())
		}
		if _, err := dec.Token(); err != io.EOF {
			return nil, badCollateral("trailing bytes")
		}
		return &c, nil
	}
	if raw, ok := DecodeText(text); ok {
		b = raw
	}
	return parseBlob(b)
}

func badCollateral(format string, args ...any) *vm.Refusal {
	return vm.Refuse(vm.CodeMalformed, "the file holds no collateral: "+format, args...).
		Try("`secretvm collateral fetch` makes such a file; the JSON of dcap-qvl and Secret Network's blob are read as well")
}

// parseSplit reads dcap-qvl's form.
func parseSplit(fields map[string]json.RawMessage) (*vm.Collateral, error) {
	text := map[string]string{}
	for name, raw := range fields {
		var s string
		if json.Unmarshal(raw, &s) == nil { // other fields, such as a PCK chain object, are not needed
			text[name] = s
		}
	}
	var err error
	unhex := func(name string) []byte {
		b, e := hex.DecodeString(text[name])
		if e != nil {
			err = badCollateral("%s is not hexadecimal", name)
		}
		return b
	}
	signature := func(name string) (s [64]byte) {
		b := unhex(name)
		if len(b) != len(s) {
			err = badCollateral("%s has %d bytes, want 64", name, len(b))
			return s
		}
		return [64]byte(b)
	}
	c := &vm.Collateral{
		PCKCRL: unhex("pck_crl"), PCKCRLChain: []byte(text["pck_crl_issuer_chain"]), RootCACRL: unhex("root_ca_crl"),
		TCBInfo:      collateral.Seal(collateral.KeyTCBInfo, []byte(text["tcb_info"]), signature("tcb_info_signature")),
		TCBInfoChain: []byte(text["tcb_info_issuer_chain"]), QEIdentityChain: []byte(text["qe_identity_issuer_chain"]),
		QEIdentity: collateral.Seal(collateral.KeyQEIdentity, []byte(text["qe_identity"]), signature("qe_identity_signature")),
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// parseBlob reads the form of Secret Network's chain: u32 TEE type, seven u32
// lengths (little-endian), then as many NUL-terminated parts: chain of the PCK
// CRL, root CRL, PCK CRL (both as hexadecimal text), chain of the TCB info, TCB
// info, chain of the QE identity, QE identity.
func parseBlob(b []byte) (*vm.Collateral, error) {
	const parts, head = 7, 32
	if len(b) < head || binary.LittleEndian.Uint32(b) != teeTypeTDX && binary.LittleEndian.Uint32(b) != teeTypeSGX {
		return nil, badCollateral("neither JSON nor the blob of a chain")
	}
	var part [parts][]byte
	rest := b[head:]
	for i := range part {
		size := binary.LittleEndian.Uint32(b[4+4*i:])
		if uint64(size) > uint64(len(rest)) {
			return nil, badCollateral("part %d has %d bytes, %d are left", i, size, len(rest))
		}
		part[i], rest = bytes.TrimRight(rest[:size], "\x00"), rest[size:]
	}
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return nil, badCollateral("%d bytes after its parts", len(rest))
	}
	root, err1 := hex.DecodeString(string(part[1]))
	pck, err2 := hex.DecodeString(string(part[2]))
	if err1 != nil || err2 != nil {
		return nil, badCollateral("its CRLs are not hexadecimal")
	}
	return &vm.Collateral{
		PCKCRLChain: part[0], RootCACRL: root, PCKCRL: pck, TCBInfoChain: part[3], TCBInfo: part[4], QEIdentityChain: part[5], QEIdentity: part[6],
	}, nil
}
