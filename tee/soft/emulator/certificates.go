package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/pki"
)

// Organisation stands in every certificate of a development PKI.
const Organisation = "secretvm development – INSECURE"

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// crlAddress stands where Intel's certificates name their CRL. Nothing is
	// ever there: the CRLs travel with the quotes.
	crlAddress = "https://secretvm.invalid/development.crl"
	leeway     = time.Hour // validity starts earlier, for clocks that differ a little
)

// platformTemplate is the one platform of a development PKI. The FMSPC is none
// of Intel's; the SVNs are those of a current server.
var platformTemplate = pki.Extensions{
	PCEID:   [2]byte{0, 0},
	FMSPC:   [6]byte{0xde, 0x7e, 0x10, 0, 0, 0},
	SGXType: 1,
	SVN:     [pki.Components]int{3, 3, 2, 2, 4, 1, 0, 5},
	PCESVN:  13,
	CPUSVN:  [16]byte{3, 3, 2, 2, 4, 1, 0, 5},
}

// NewPKI makes a PKI in memory, with collateral, valid from now on. Its
// collateral stays that of now, however long the process runs.
func NewPKI(now time.Time) (*PKI, error) {
	p := &PKI{Platform: platformTemplate, clock: func() time.Time { return now }}
	rand.Read(p.Platform.PPID[:])
	rand.Read(p.Platform.PlatformInstance[:])
	sgx, err := p.Platform.Marshal()
	if err != nil {
		return nil, err
	}
	ca, leaf := x509.KeyUsageCertSign|x509.KeyUsageCRLSign, x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment
	for _, step := range []struct {
		to, issuer *Credential
		name       string
		usage      x509.KeyUsage
		pathLen    int // of a CA
		extra      []pkix.Extension
	}{
		{to: &p.Root, issuer: &p.Root, name: pki.NameRoot, usage: ca, pathLen: 1},
		{to: &p.PlatformCA, issuer: &p.Root, name: pki.NamePlatformCA, usage: ca},
		{to: &p.PCK, issuer: &p.PlatformCA, name: pki.NamePCK, usage: leaf, extra: []pkix.Extension{sgx}},
		{to: &p.TCBSigner, issuer: &p.Root, name: pki.NameTCBSigner, usage: leaf},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make development key of %s: %w", step.name, err)
		}
		template := &x509.Certificate{
			SerialNumber:          serial(),
			Subject:               pkix.Name{CommonName: step.name, Organization: []string{Organisation}},
			NotBefore:             now.Add(-leeway),
			NotAfter:              now.Add(rootLifetime),
			KeyUsage:              step.usage,
			BasicConstraintsValid: true,
			IsCA:                  step.usage == ca,
			MaxPathLen:            step.pathLen,
			MaxPathLenZero:        step.usage == ca && step.pathLen == 0,
			SubjectKeyId:          keyID(&key.PublicKey),
			CRLDistributionPoints: []string{crlAddress},
			ExtraExtensions:       step.extra,
			SignatureAlgorithm:    x509.ECDSAWithSHA256,
		}
		if step.usage != ca {
			template.MaxPathLen = -1
		}
		*step.to = Credential{Key: signingKey{key}} // before the root signs itself
		parent := step.issuer.Cert
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, step.issuer.Key.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("issue development certificate %s: %w", step.name, err)
		}
		if step.to.Cert, err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("issue development certificate %s: %w", step.name, err)
		}
	}
	p.Collateral, err = p.Issue(DefaultPlan(now))
	return p, err
}

// serial draws a positive certificate serial number of 19 bytes.
func serial() *big.Int {
	var b [19]byte
	rand.Read(b[:])
	b[0] |= 1
	return new(big.Int).SetBytes(b[:])
}

// keyID names a key as RFC 5280, 4.2.1.2 (1) does.
func keyID(key *ecdsa.PublicKey) []byte {
	point, err := key.Bytes()
	if err != nil {
		panic("emulator: " + err.Error()) // a key on P-256, just made
	}
	id := sha1.Sum(point)
	return id[:]
}

// sign returns r ‖ s over the SHA-256 of message.
func sign(key *ecdsa.PrivateKey, message []byte) (signature [64]byte, err error) {
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return signature, fmt.Errorf("sign: %w", err)
	}
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}
