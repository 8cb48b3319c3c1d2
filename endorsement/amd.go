package endorsement

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/vm"
)

// AMD finds what is signed for a whole product line (Milan, Genoa, Turin): the
// certificates above its keys, and the list of revoked ones. The key of one
// chip needs a report of it.
func AMD(ctx context.Context, product string, o Options) error {
	f := o.finder()
	for _, endorser := range []string{"vcek", "vlek"} {
		for _, a := range []ask{f.askChain(endorser, product), f.askCRL(endorser, product)} {
			if _, err := f.obtain(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *finder) completeAMD(ctx context.Context, ev *vm.Evidence) error {
	r, err := snp.Decode(ev.Quote)
	if err != nil {
		return err
	}
	c := vm.AMDCollateral{}
	if ev.AMD != nil {
		c = *ev.AMD
	}
	ev.AMD = &c
	var line snp.Line
	if len(c.EndorsementKey) > 0 {
		if line, err = lineOfKey(c.EndorsementKey); err != nil {
			return err
		}
	} else if line, c.EndorsementKey, err = f.endorsementKey(ctx, r); err != nil {
		return err
	}
	endorser := strings.ToLower(r.Signer.String())
	if len(c.Chain) == 0 {
		// A verifier has the usual ones built in, so this may fail.
		if x, err := f.obtain(ctx, f.askChain(endorser, string(line))); err == nil {
			c.Chain = x.Body
		}
	}
	if len(c.CRL) > 0 && !(f.Renew && f.over(KindCRL, c.CRL)) {
		return nil
	}
	x, err := f.obtain(ctx, f.askCRL(endorser, string(line)))
	if err != nil {
		return err
	}
	c.CRL = x.Body
	return nil
}

// over reports whether an object has ended, or cannot be read.
func (f *finder) over(kind string, body []byte) bool {
	facts, err := question{kind: kind}.describe(body)
	return err != nil || facts.Expired(f.now)
}

func lineOfKey(der []byte) (snp.Line, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", vm.Refuse(vm.CodeMalformed, "certificate of the endorsement key: %v", err)
	}
	key, err := snp.ParseKey(cert)
	return key.Line, err
}

// endorsementKey finds the certificate of the chip that signed r. A report of
// version 2 does not say of which line the chip is: each is tried.
func (f *finder) endorsementKey(ctx context.Context, r snp.Report) (snp.Line, []byte, error) {
	switch {
	case r.Signer == snp.VLEK:
		return "", nil, vm.Refuse(vm.CodeCollateral, "the report was signed by a VLEK, whose certificate only its provider has").
			Try("ask the provider of the machine for the VLEK certificate: AMD gives it to nobody else")
	case r.ChipID == [64]byte{}:
		return "", nil, vm.Refuse(vm.CodeCollateral, "the report hides which chip signed it, so its certificate cannot be found").
			On("CHIP_ID", "zero", "the chip's id").Try("the host must clear MASK_CHIP_ID, or send the VCEK certificate along")
	}
	lines := []snp.Line{snp.Milan, snp.Genoa}
	if r.CPU != (snp.CPU{}) {
		product, err := r.CPU.Product()
		if err != nil {
			return "", nil, err
		}
		lines = []snp.Line{product.Line()}
	}
	var failures []error
	for _, line := range lines {
		a, err := f.askVCEK(line, r)
		if err == nil {
			var x Finding
			if x, err = f.obtain(ctx, a); err == nil {
				return line, x.Body, nil
			}
		}
		failures = append(failures, err)
	}
	return "", nil, errors.Join(failures...)
}

const (
	maxAMD  = 256 << 10
	amdHint = "name a service that can be reached with --kds, or on a connected machine run `secretvm collateral fetch EVIDENCE -o collateral.zip` and pass --collateral collateral.zip"
)

// askVCEK asks for the key of a chip at the TCB that the report names (57230,
// "VCEK Certificate Request"). Turin has an id of 8 bytes, and an FMC.
func (f *finder) askVCEK(line snp.Line, r snp.Report) (ask, error) {
	tcb, err := line.TCB("REPORTED_TCB", r.ReportedTCB)
	if err != nil {
		return ask{}, err
	}
	chip := r.ChipID[:]
	query := fmt.Sprintf("blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", tcb.Bootloader, tcb.TEE, tcb.SNP, tcb.Microcode)
	if line == snp.Turin {
		chip, query = chip[:8], fmt.Sprintf("fmcSPL=%d&", tcb.FMC)+query
	}
	q := question{vendor: "AMD", kind: KindVCEK, endorser: "vcek", product: string(line), chip: lowerHex(chip), tcb: query}
	return f.askAMD(q, "/vcek/v1/"+q.product+"/"+q.chip+"?"+query, readCertificate), nil
}

func (f *finder) askChain(endorser, product string) ask {
	q := question{vendor: "AMD", kind: KindChain, endorser: endorser, product: product}
	return f.askAMD(q, "/"+endorser+"/v1/"+product+"/cert_chain", readWhole)
}

func (f *finder) askCRL(endorser, product string) ask {
	q := question{vendor: "AMD", kind: KindCRL, endorser: endorser, product: product}
	return f.askAMD(q, "/"+endorser+"/v1/"+product+"/crl", readRootCRL)
}

func (f *finder) askAMD(q question, path string, read reader) ask {
	a := ask{question: q, limit: maxAMD, read: read, hint: amdHint}
	for _, base := range f.Addresses.AMD {
		a.urls = append(a.urls, base+path)
	}
	return a
}

// readCertificate reads a certificate in DER, as KDS gives it, or in PEM, as
// caches in front of it may.
func readCertificate(a *transport.Answer) (body, chain []byte, err error) {
	body = a.Body
	if block, _ := pem.Decode(a.Body); block != nil && block.Type == "CERTIFICATE" {
		body = block.Bytes
	}
	_, err = x509.ParseCertificate(body)
	return body, nil, err
}

// readWhole takes an answer as it is; describe looks at it.
func readWhole(a *transport.Answer) (body, chain []byte, err error) { return a.Body, nil, nil }
