package snptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// CAKey is the RSA key of every CA here: making one takes seconds. OtherKey is
// another one, for those that nobody trusts.
var (
	CAKey    = sync.OnceValue(newCAKey)
	OtherKey = sync.OnceValue(newCAKey)
)

func newCAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		panic(fmt.Sprintf("make RSA key: %v", err))
	}
	return key
}

// Plan says what the certificates are like. Its zero value, with Line, TCB and
// Now, is a sound VCEK.
type Plan struct {
	Line    snp.Line
	Signer  snp.Signer
	TCB     snp.TCB
	ChipID  []byte
	Now     time.Time
	From    time.Time // of the endorsement key's certificate; a month ago
	To      time.Time // in a month
	CRLFrom time.Time // a day ago
	CRLTo   time.Time // in a day
	Revoked []*big.Int
	Serial  *big.Int // of the issuer; IssuerSerial

	Name       func(common string) pkix.Name // a development organisation's
	CRLAddress string                        // in the issuer's certificate

	KeyName, IssuerName, RootName string                // common names, where others are wanted
	Product                       string                // product name in the certificate
	Alter                         func([]Field) []Field // of the AMD extensions
	Curve                         elliptic.Curve        // of the endorsement key
	IssuerKey, RootKey            *rsa.PrivateKey       // CAKey
	IssuerIsNoCA, RootSignsNoCRL  bool
	Algorithm                     x509.SignatureAlgorithm // of the endorsement key's certificate
}

// Serial numbers of the certificates of CAs.
var (
	RootSerial   = big.NewInt(0x7f0000)
	IssuerSerial = big.NewInt(0x7f0001)
)

// Field is one AMD extension: the suffix of its OID and the value inside.
type Field struct {
	Suffix []int
	Value  []byte
}

// Machine is a chip with its endorsement key and the certificates above it.
type Machine struct {
	Line       snp.Line
	Signer     snp.Signer
	ChipID     []byte
	TCB        snp.TCB
	Root       *x509.Certificate
	Issuer     *x509.Certificate
	Collateral vm.AMDCollateral
	Key        *ecdsa.PrivateKey
}

func (p *Plan) defaults() {
	name := "SEV-" + string(p.Line)
	key := "SEV-VCEK"
	if p.Signer == snp.VLEK {
		name, key = "SEV-VLEK-"+string(p.Line), "SEV-VLEK"
	}
	for _, text := range []struct {
		to    *string
		value string
	}{{&p.KeyName, key}, {&p.IssuerName, name}, {&p.RootName, "ARK-" + string(p.Line)}, {&p.Product, string(p.Line) + "-B0"}} {
		if *text.to == "" {
			*text.to = text.value
		}
	}
	for _, at := range []struct {
		to  *time.Time
		day int
	}{{&p.From, -30}, {&p.To, 30}, {&p.CRLFrom, -1}, {&p.CRLTo, 1}} {
		if at.to.IsZero() {
			*at.to = p.Now.AddDate(0, 0, at.day)
		}
	}
	if p.ChipID == nil {
		p.ChipID = make([]byte, 64)
		if p.Line == snp.Turin {
			p.ChipID = make([]byte, 8)
		}
		for i := range p.ChipID {
			p.ChipID[i] = byte(i + 1)
		}
	}
	if p.Serial == nil {
		p.Serial = IssuerSerial
	}
	if p.Name == nil {
		p.Name = func(common string) pkix.Name {
			return pkix.Name{CommonName: common, Organization: []string{"secretvm development – INSECURE"}}
		}
	}
	if p.Curve == nil {
		p.Curve = elliptic.P384()
	}
	if p.IssuerKey == nil {
		p.IssuerKey = CAKey()
	}
	if p.RootKey == nil {
		p.RootKey = CAKey()
	}
	if p.Algorithm == 0 {
		p.Algorithm = x509.SHA384WithRSAPSS
	}
}

// Issue makes a machine as planned.
func Issue(p Plan) (m Machine, err error) {
	p.defaults()
	m = Machine{Line: p.Line, Signer: p.Signer, ChipID: p.ChipID, TCB: p.TCB}
	if m.Key, err = ecdsa.GenerateKey(p.Curve, rand.Reader); err != nil {
		return m, err
	}
	root := &x509.Certificate{
		SerialNumber: RootSerial, Subject: p.Name(p.RootName), NotBefore: p.Now.AddDate(-1, 0, 0), NotAfter: p.Now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	if p.RootSignsNoCRL {
		root.KeyUsage = x509.KeyUsageCertSign
	}
	if m.Root, err = sign(root, root, &p.RootKey.PublicKey, p.RootKey); err != nil {
		return m, err
	}
	issuer := &x509.Certificate{
		SerialNumber: p.Serial, Subject: p.Name(p.IssuerName), NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IsCA: !p.IssuerIsNoCA, BasicConstraintsValid: true, MaxPathLenZero: !p.IssuerIsNoCA, KeyUsage: x509.KeyUsageCertSign, SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	if p.CRLAddress != "" {
		issuer.CRLDistributionPoints = []string{p.CRLAddress}
	}
	if m.Issuer, err = sign(issuer, m.Root, &p.IssuerKey.PublicKey, p.RootKey); err != nil {
		return m, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: p.Name(p.KeyName), NotBefore: p.From, NotAfter: p.To,
		SignatureAlgorithm: p.Algorithm, ExtraExtensions: p.extensions(),
	}
	cert, err := sign(leaf, m.Issuer, &m.Key.PublicKey, p.IssuerKey)
	if err != nil {
		return m, err
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: p.CRLFrom, NextUpdate: p.CRLTo, SignatureAlgorithm: x509.SHA384WithRSAPSS}
	for _, serial := range p.Revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: p.CRLFrom})
	}
	signer := *m.Root
	signer.KeyUsage |= x509.KeyUsageCRLSign // the library would not sign otherwise
	if m.Collateral.CRL, err = x509.CreateRevocationList(rand.Reader, list, &signer, p.RootKey); err != nil {
		return m, err
	}
	m.Collateral.EndorsementKey = cert.Raw
	m.Collateral.Chain = Bundle(m.Issuer, m.Root)
	return m, nil
}

// Bundle writes certificates in PEM.
func Bundle(certs ...*x509.Certificate) (b []byte) {
	for _, cert := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return b
}

func sign(template, parent *x509.Certificate, public any, key *rsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}
