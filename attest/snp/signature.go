package snp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/hex"
	"math/big"

	"github.com/secretvm/secretvm/vm"
)

// SignedBy refuses the report unless it was signed by this endorsement key,
// and the key belongs to the chip and to the TCB that the report names.
// maskedChip accepts reports whose host masks the chip id; the key's
// certificate names the chip then.
func (r *Report) SignedBy(k Key, maskedChip bool) error {
	if r.Signer != k.Signer {
		return vm.Refuse(vm.CodeCollateral, "the certificate is that of another kind of key than signed the report").
			On("certificate", k.Signer.String(), r.Signer.String())
	}
	product, err := r.Product(k.Line)
	if err != nil {
		return err
	}
	if product.Line() != k.Line {
		return vm.Refuse(vm.CodeCollateral, "the certificate is for another product than the report comes from").
			On("certificate", string(k.Line), string(product))
	}
	reported, err := k.Line.TCB("REPORTED_TCB", r.ReportedTCB)
	if err != nil {
		return err
	}
	if reported != k.TCB {
		return vm.Refuse(vm.CodeCollateral, "the certificate is for another TCB than the report's").
			On("certificate", k.TCB.String(), reported.String()).
			Try("fetch the endorsement key's certificate for the report's REPORTED_TCB: it changes with every firmware update")
	}
	if err := r.checkChip(k, maskedChip); err != nil {
		return err
	}
	digest := sha512.Sum384(r.signed)
	if !ecdsa.Verify(k.Public, digest[:], new(big.Int).SetBytes(r.r[:]), new(big.Int).SetBytes(r.s[:])) {
		return vm.Refuse(vm.CodeSignature, "the signature of the report does not hold").
			Try("the bytes were changed after signing, or signed by another key: get the report and its certificate again from their source")
	}
	return nil
}

// Product returns the kind of chip that the report comes from. Reports of
// version 2 do not say: they count as the first product of the line, but not
// as Turin, which never had them.
func (r *Report) Product(line Line) (Product, error) {
	switch {
	case r.Version < versionCPU && line == Turin:
		return ProductMilan, nil
	case r.Version < versionCPU:
		return Product(line), nil
	}
	return r.CPU.Product()
}

// checkChip refuses a VCEK of another chip. A VLEK is shared by many.
func (r *Report) checkChip(k Key, masked bool) error {
	if k.Signer == VLEK {
		return nil
	}
	n := len(k.ChipID)
	if zero(r.ChipID[:]) {
		if masked {
			return nil
		}
		return vm.Refuse(vm.CodeCollateral, "the report's host masks the chip id").On("CHIP_ID", "zero", hex.EncodeToString(k.ChipID)).
			Try("accept masked chip ids in the policy (the certificate names the chip), or clear MASK_CHIP_ID on the host")
	}
	if !bytes.Equal(r.ChipID[:n], k.ChipID) || !zero(r.ChipID[n:]) {
		return vm.Refuse(vm.CodeCollateral, "the certificate is that of another chip").
			On("CHIP_ID", hex.EncodeToString(r.ChipID[:n]), hex.EncodeToString(k.ChipID)).
			Try("fetch the VCEK certificate for the report's CHIP_ID")
	}
	return nil
}

// Hardware returns the chip's id in hexadecimal, or nothing where neither
// report nor certificate names a chip.
func (r *Report) Hardware(k Key) string {
	switch {
	case k.Signer == VCEK:
		return hex.EncodeToString(k.ChipID)
	case zero(r.ChipID[:]):
		return ""
	case k.Line == Turin:
		return hex.EncodeToString(r.ChipID[:8])
	}
	return hex.EncodeToString(r.ChipID[:])
}
