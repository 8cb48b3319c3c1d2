package emulator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// RootFile is the file of a PKI folder that holds the development root: what
// users pass as --trust-root.
const RootFile = "dev-root.pem"

const collateralFile = "collateral.json"

// PKI is the development counterpart of Intel's provisioning PKI: root,
// platform CA, one platform's PCK certificate, and the signer of TCB info and
// QE identity, with collateral that is valid now.
type PKI struct {
	Root, PlatformCA, PCK, TCBSigner Credential
	Platform                         pki.Extensions // what the PCK certificate says
	Collateral                       vm.Collateral  // as of the start; Machine.Quote keeps it current

	clock func() time.Time // the real one, but for a PKI in memory: always the moment it was made for
	mu    sync.Mutex       // guards Collateral once quotes are made
}

// Credential is a certificate with its key. The key prints as redacted.
type Credential struct {
	Cert *x509.Certificate
	Key  signingKey
}

// signingKey keeps a private key out of logs.
type signingKey struct{ *ecdsa.PrivateKey }

func (signingKey) String() string   { return "redacted" }
func (signingKey) GoString() string { return "redacted" }

// files names the certificates and keys in a PKI folder.
func (p *PKI) files() map[string]*Credential {
	return map[string]*Credential{"dev-root": &p.Root, "platform-ca": &p.PlatformCA, "pck": &p.PCK, "tcb-signer": &p.TCBSigner}
}

// LoadOrCreatePKI loads the PKI in folder dir, or makes one there. Collateral
// that ends within a week is issued again. Two processes may call it at once:
// a folder appears complete or not at all.
func LoadOrCreatePKI(dir string) (*PKI, error) {
	now := time.Now()
	p, err := load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, now); err != nil {
			return nil, err
		}
		p, err = load(dir)
	}
	if err != nil {
		return nil, err
	}
	renewed, err := p.renew(now)
	if err == nil && renewed {
		err = p.saveCollateral(dir)
	}
	return p, err
}

// RootPEM returns the development root as PEM.
func (p *PKI) RootPEM() []byte { return bundle(p.Root.Cert) }

func load(dir string) (*PKI, error) {
	p := &PKI{clock: time.Now}
	for name, credential := range p.files() {
		cert, err := os.ReadFile(filepath.Join(dir, name+".pem"))
		if err != nil {
			return nil, fmt.Errorf("load development PKI: %w", err)
		}
		key, err := os.ReadFile(filepath.Join(dir, name+"-key.pem"))
		if err != nil {
			// Not fs.ErrNotExist any more: half a PKI must not be replaced.
			return nil, fmt.Errorf("load development PKI: key of %s is missing (remove %s to make a new one): %w", name, dir, err)
		}
		if err := credential.parse(cert, key); err != nil {
			return nil, fmt.Errorf("load development PKI: %s in %s: %w", name, dir, err)
		}
	}
	var err error
	if p.Platform, err = pki.ParseExtensions(p.PCK.Cert); err != nil {
		return nil, fmt.Errorf("load development PKI: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, collateralFile))
	if err == nil {
		err = json.Unmarshal(text, &p.Collateral)
	}
	if err != nil {
		p.Collateral = vm.Collateral{} // renew makes it again
	}
	return p, nil
}

func (c *Credential) parse(certPEM, keyPEM []byte) error {
	certs, err := pki.ParsePEM("certificate", certPEM)
	if err != nil {
		return err
	}
	c.Cert = certs[0]
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return errors.New("key is not PEM")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("parse key: %w", err)
	}
	if !key.PublicKey.Equal(c.Cert.PublicKey) {
		return errors.New("key and certificate do not belong together")
	}
	c.Key = signingKey{key}
	return nil
}

// create writes a new PKI into a sibling of dir and renames it into place. If
// another process was faster, its PKI stays.
func create(dir string, now time.Time) error {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("create development PKI: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
	if err != nil {
		return fmt.Errorf("create development PKI: %w", err)
	}
	defer os.RemoveAll(work)
	p, err := NewPKI(now)
	if err != nil {
		return err
	}
	if err := p.save(work); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil { // the root is for everybody to read
		return fmt.Errorf("create development PKI: %w", err)
	}
	// A folder's rename replaces an empty folder and nothing else.
	if err := os.Rename(work, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create development PKI: %w", err)
	}
	return nil
}

func (p *PKI) save(dir string) error {
	for name, c := range p.files() {
		der, err := x509.MarshalECPrivateKey(c.Key.PrivateKey)
		if err != nil {
			return fmt.Errorf("encode key of %s: %w", name, err)
		}
		key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name+"-key.pem"), key, 0o600); err != nil {
			return fmt.Errorf("save development PKI: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), bundle(c.Cert), 0o644); err != nil {
			return fmt.Errorf("save development PKI: %w", err)
		}
	}
	return p.saveCollateral(dir)
}

// saveCollateral replaces the collateral file in one step.
func (p *PKI) saveCollateral(dir string) error {
	text, err := json.Marshal(p.Collateral)
	if err != nil {
		return fmt.Errorf("encode development collateral: %w", err)
	}
	f, err := os.CreateTemp(dir, collateralFile+".new-")
	if err != nil {
		return fmt.Errorf("save development collateral: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, collateralFile))
	}
	if err != nil {
		return fmt.Errorf("save development collateral: %w", err)
	}
	return nil
}

// bundle is PEM of certificates, leaf first.
func bundle(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}
