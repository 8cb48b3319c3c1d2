package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"sync"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// What every emulated machine reports about itself. teeTCBSVN is that of a TDX
// module 1.x with SVN 13; XFAM has x87, SSE, AVX, AVX-512, PKRU and AMX.
var (
	teeTCBSVN = [16]byte{13, 1, 4}
	mrSEAM    = vm.Register(sha512.Sum384([]byte(Organisation + ": TDX module")))
	qeEnclave = sha256.Sum256([]byte(Organisation + ": quoting enclave"))
)

const xfam = 0x602e7

// Machine holds the registers of one boot. It may be used by several
// goroutines.
type Machine struct {
	// Attributes are the TD attributes that quotes will show. Tests set
	// tdx.AttributeDebug, which every verifier must refuse.
	Attributes uint64
	// BootLog is what the machine's firmware would have logged about RTMR0 to
	// RTMR2, in its format; nil: there is no log. Set it before serving.
	BootLog []byte

	pki *PKI
	key *ecdsa.PrivateKey // attestation key, as a quoting enclave makes one

	mu          sync.Mutex
	measurement vm.Measurement
}

// New makes a machine with the registers that a real one would have at launch,
// whose quotes are signed below p.
func New(p *PKI, launch vm.Measurement) (*Machine, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make attestation key: %w", err)
	}
	return &Machine{Attributes: tdx.AttributeSEPTVEDisable, pki: p, key: key, measurement: launch}, nil
}

// Extend folds digest into a register. Only RTMR3 is open to a guest once its
// firmware and kernel are measured.
func (m *Machine) Extend(register int, digest vm.Register) (vm.Measurement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if register != vm.RuntimeRegister {
		return vm.Measurement{}, fmt.Errorf("extend RTMR%d: only RTMR%d is open to the guest", register, vm.RuntimeRegister)
	}
	m.measurement.RTMR[register] = m.measurement.RTMR[register].Extend(digest)
	return m.measurement, nil
}

// Read returns the registers as they are now.
func (m *Machine) Read() vm.Measurement {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.measurement
}

// Quote returns a TDX version 4 quote over reportData, with collateral.
func (m *Machine) Quote(reportData [64]byte) (vm.Evidence, error) {
	q := tdx.Quote{
		Header: tdx.Header{
			Version: tdx.Version4, KeyType: tdx.KeyTypeECDSAP256, TEEType: tdx.TEETypeTDX, VendorID: tdx.IntelVendorID,
		},
		BodyType: tdx.BodyTD10,
		Body:     m.body(reportData),
	}
	if err := m.pki.SignQuote(&q, m.key); err != nil {
		return vm.Evidence{}, err
	}
	collateral, err := m.pki.current()
	if err != nil {
		return vm.Evidence{}, err
	}
	return vm.Evidence{TEE: vm.Soft, Quote: tdx.Encode(q), Collateral: collateral}, nil
}

func (m *Machine) body(reportData [64]byte) (b tdx.Body) {
	now := m.Read()
	b.TEETCBSVN = teeTCBSVN
	b.MRSEAM = mrSEAM
	b.TDAttributes = m.Attributes
	b.XFAM = xfam
	b.MRTD, b.MRConfigID, b.RTMR = now.MRTD, now.MRConfigID, now.RTMR
	b.ReportData = reportData
	return b
}

// SignQuote signs the quote's header and body with an attestation key, and has
// the platform vouch for that key: a quoting enclave's report, signed by the
// PCK.
func (p *PKI) SignQuote(q *tdx.Quote, key *ecdsa.PrivateKey) (err error) {
	s := &q.Signature
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return fmt.Errorf("encode attestation key: %w", err)
	}
	copy(s.AttestationKey[:], point[1:]) // without the mark of an uncompressed point
	s.AuthData = make([]byte, 32)
	rand.Read(s.AuthData)
	s.QEReport = tdx.EnclaveReport{
		CPUSVN:     p.Platform.CPUSVN,
		Attributes: [16]byte{0: 0x15, 8: 0xe7}, // initialised, 64-bit, provisioning key; XFRM
		MREnclave:  qeEnclave,
		MRSigner:   qeSigner,
		ISVProdID:  qeProduct,
		ISVSVN:     qeSVN,
	}
	bound := sha256.Sum256(append(append([]byte{}, s.AttestationKey[:]...), s.AuthData...))
	copy(s.QEReport.ReportData[:], bound[:])
	if s.QESignature, err = sign(p.PCK.Key.PrivateKey, s.QEReport.Bytes()); err != nil {
		return err
	}
	s.PCKChain = append(bundle(p.PCK.Cert, p.PlatformCA.Cert, p.Root.Cert), 0) // NUL-terminated, as Intel's
	s.Quote, err = sign(key, q.Signed())
	return err
}
