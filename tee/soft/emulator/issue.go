package emulator

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

const (
	collateralLifetime = 30 * 24 * time.Hour
	renewBefore        = 7 * 24 * time.Hour
)

// Plan is what a set of collateral is to say. Tests issue sets that a verifier
// must refuse.
type Plan struct {
	TCBInfo    collateral.TCBInfo
	QEIdentity collateral.QEIdentity
	From, To   time.Time           // validity of the CRLs
	Revoked    []*x509.Certificate // named by the CRL of whoever issued them
}

// DefaultPlan describes the emulator's platform as it is: up to date, nothing
// revoked, valid for 30 days.
func DefaultPlan(now time.Time) Plan {
	from := now.Add(-leeway).UTC().Truncate(time.Second)
	to := from.Add(collateralLifetime)
	date := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	zero := collateral.Module{MRSigner: make([]byte, 48), Attributes: make([]byte, 8), AttributesMask: ones(8)}
	best := []collateral.SVNLevel{{TCB: collateral.SVN{ISVSVN: int(teeTCBSVN[0])}, TCBDate: date, TCBStatus: collateral.UpToDate}}
	level := collateral.TCBLevel{TCBDate: date, TCBStatus: collateral.UpToDate}
	level.TCB.PCESVN = platformTemplate.PCESVN
	for i, svn := range platformTemplate.SVN {
		level.TCB.SGX = append(level.TCB.SGX, collateral.Component{SVN: svn})
		level.TCB.TDX = append(level.TCB.TDX, collateral.Component{SVN: int(teeTCBSVN[i])})
	}
	return Plan{
		TCBInfo: collateral.TCBInfo{
			ID: "TDX", Version: 3, IssueDate: from, NextUpdate: to, TCBEvaluationDataNumber: 1,
			FMSPC: platformTemplate.FMSPC[:], PCEID: platformTemplate.PCEID[:], TDXModule: zero,
			TDXModuleIdentities: []collateral.ModuleIdentity{{ID: collateral.ModuleID(teeTCBSVN[1]), Module: zero, TCBLevels: best}},
			TCBLevels:           []collateral.TCBLevel{level},
		},
		QEIdentity: collateral.QEIdentity{
			ID: "TD_QE", Version: 2, IssueDate: from, NextUpdate: to, TCBEvaluationDataNumber: 1,
			MiscSelect: make([]byte, 4), MiscSelectMask: ones(4),
			Attributes: append([]byte{0x11}, make([]byte, 15)...), AttributesMask: append(append([]byte{0xfb}, ones(7)...), make([]byte, 8)...),
			MRSigner: qeSigner[:], ISVProdID: qeProduct,
			TCBLevels: []collateral.SVNLevel{{TCB: collateral.SVN{ISVSVN: qeSVN}, TCBDate: date, TCBStatus: collateral.UpToDate}},
		},
		From: from, To: to,
	}
}

// qeSigner stands for Intel's signing key of the quoting enclave.
var qeSigner = sha256.Sum256([]byte(Organisation + ": signer of the quoting enclave"))

const (
	qeProduct = 2
	qeSVN     = 4
)

func ones(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// Issue signs a set of collateral.
func (p *PKI) Issue(plan Plan) (c vm.Collateral, err error) {
	c.PCKCRLChain = bundle(p.PlatformCA.Cert, p.Root.Cert)
	c.TCBInfoChain = bundle(p.TCBSigner.Cert, p.Root.Cert)
	c.QEIdentityChain = c.TCBInfoChain
	if c.TCBInfo, err = p.seal(collateral.KeyTCBInfo, plan.TCBInfo); err != nil {
		return c, err
	}
	if c.QEIdentity, err = p.seal(collateral.KeyQEIdentity, plan.QEIdentity); err != nil {
		return c, err
	}
	if c.RootCACRL, err = p.Root.crl(plan); err != nil {
		return c, err
	}
	c.PCKCRL, err = p.PlatformCA.crl(plan)
	return c, err
}

// seal signs the JSON form of inner and puts it into its envelope.
func (p *PKI) seal(key string, inner any) ([]byte, error) {
	text, err := json.Marshal(inner)
	if err != nil {
		return nil, fmt.Errorf("encode development %s: %w", key, err)
	}
	signature, err := p.SignDocument(text)
	return collateral.Seal(key, text, signature), err
}

// crl lists those of the plan's revoked certificates that c issued.
func (c Credential) crl(plan Plan) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: plan.From, NextUpdate: plan.To, SignatureAlgorithm: x509.ECDSAWithSHA256}
	for _, cert := range plan.Revoked {
		if string(cert.RawIssuer) == string(c.Cert.RawSubject) {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: plan.From, ReasonCode: 1})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, c.Cert, c.Key.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("issue development CRL of %s: %w", c.Cert.Subject.CommonName, err)
	}
	return der, nil
}

// current returns collateral that is valid for days to come: a machine may run
// for longer than one set lasts.
func (p *PKI) current() (*vm.Collateral, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.renew(p.clock())
	c := p.Collateral
	return &c, err
}

// renew issues collateral again when it is missing, unreadable or near its end,
// and says whether it did.
func (p *PKI) renew(now time.Time) (renewed bool, err error) {
	if inner, _, err := collateral.Open(collateral.KeyTCBInfo, p.Collateral.TCBInfo); err == nil {
		info, err := collateral.ParseTCBInfo(inner, collateral.IDTDX)
		if err == nil && now.After(info.IssueDate) && now.Add(renewBefore).Before(info.NextUpdate) {
			return false, nil
		}
	}
	p.Collateral, err = p.Issue(DefaultPlan(now))
	return true, err
}

// SignDocument signs TCB info or a QE identity with the key of the TCB signer:
// r ‖ s over the SHA-256.
func (p *PKI) SignDocument(document []byte) (signature [64]byte, err error) {
	return sign(p.TCBSigner.Key.PrivateKey, document)
}
