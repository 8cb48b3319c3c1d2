package endorsement

import (
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// IntelPlatform is what Intel's collateral is chosen by.
type IntelPlatform struct {
	TEE   string // "tdx" or "sgx": which kind of quote
	FMSPC string // 12 hex digits: family, model, stepping, platform type, SKU
	CA    string // "platform" or "processor": who certified the platform
}

// Check refuses what is no platform.
func (p IntelPlatform) Check() error {
	if (question{kind: KindTCBInfo, tee: p.TEE, fmspc: p.FMSPC}).check() != nil || (question{kind: KindPCKCRL, ca: p.CA}).check() != nil {
		return vm.Refuse(vm.CodeInvalid, "%q of TEE %q under the %q CA is no platform of Intel's", p.FMSPC, p.TEE, p.CA).
			Try("an FMSPC has 12 hexadecimal digits, the TEE is tdx or sgx, the CA platform or processor")
	}
	return nil
}

// PlatformOf reads from a quote of TDX or SGX which collateral it needs.
// Nothing is verified.
func PlatformOf(quote []byte) (p IntelPlatform, err error) {
	if len(quote) > 2 && binary.LittleEndian.Uint16(quote) == tdx.Version3 {
		q, err := tdx.DecodeSGX(quote)
		if err != nil {
			return p, err
		}
		return platformOf("sgx", q.Signature.PCKChain)
	}
	q, err := tdx.Decode(quote)
	if err != nil {
		return p, err
	}
	return platformOf("tdx", q.Signature.PCKChain)
}

func platformOf(tee string, chain []byte) (p IntelPlatform, err error) {
	certs, err := pki.ParsePEM("PCK chain", chain)
	if err != nil {
		return p, err
	}
	sgx, err := pki.ParseExtensions(certs[0])
	if err != nil {
		return p, err
	}
	p = IntelPlatform{TEE: tee, FMSPC: lowerHex(sgx.FMSPC[:])}
	switch issuer := certs[0].Issuer.CommonName; issuer {
	case pki.NamePlatformCA:
		p.CA = "platform"
	case pki.NameProcessorCA:
		p.CA = "processor"
	default:
		return p, vm.Refuse(vm.CodeChain, "the PCK certificate was issued by a CA whose CRL nobody serves").
			On("issuer", fmt.Sprintf("%.60q", issuer), pki.NamePlatformCA+" or "+pki.NameProcessorCA)
	}
	return p, nil
}
