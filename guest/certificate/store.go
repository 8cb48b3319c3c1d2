package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Names of the files that containers find.
const (
	CertFile = "cert.pem" // leaf first
	KeyFile  = "key.pem"  // PKCS #8
)

// loadAccount reads the account's key, and makes another where there is none
// that can be read; found tells.
func loadAccount(file string) (key *ecdsa.PrivateKey, found bool, err error) {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("read account key: %w", err)
	}
	if block, _ := pem.Decode(b); block != nil {
		if any, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := any.(*ecdsa.PrivateKey); ok {
				return key, true, nil
			}
		}
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, false, fmt.Errorf("make account key: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, false, err
	}
	return key, false, replace(file, text, 0o600)
}

// workload holds the key that containers use. Each request draws another.
type workload struct {
	file   string // key and chain, on the disk
	shared string
	drawn  *ecdsa.PrivateKey
}

// openWorkload shares what the disk holds, or else a certificate that its key
// has signed itself.
func openWorkload(file, shared string, names []string) (*entry, error) {
	w := &workload{file: file, shared: shared}
	if b, err := os.ReadFile(file); err == nil {
		if pair, err := tls.X509KeyPair(b, b); err == nil {
			if key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); ok {
				return &entry{of: "workload", holder: w, shown: pair.Leaf, public: true, due: renewal(pair.Leaf)}, w.share(key, pair.Certificate)
			}
		}
	}
	if _, err := w.Request(names); err != nil { // for the key
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "secretvm: no authority has answered yet"}, DNSNames: names,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &w.drawn.PublicKey, w.drawn)
	if err != nil {
		return nil, fmt.Errorf("sign the workload's own certificate: %w", err)
	}
	shown, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the workload's own certificate: %w", err)
	}
	return &entry{of: "workload", holder: w, shown: shown}, w.share(w.drawn, [][]byte{der})
}

// Request implements Holder.
func (w *workload) Request(names []string) (csr []byte, err error) {
	if w.drawn, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make the workload's key: %w", err)
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, w.drawn); err != nil {
		return nil, fmt.Errorf("request the workload's certificate: %w", err)
	}
	return csr, nil
}

// Install implements Holder.
func (w *workload) Install(chain [][]byte) error {
	text, err := encodeKey(w.drawn)
	if err != nil {
		return err
	}
	if err := replace(w.file, append(text, encodeChain(chain)...), 0o600); err != nil {
		return err
	}
	return w.share(w.drawn, chain)
}

// share puts both files where containers find them, the certificate last: who
// sees it change finds its key there. All in a container that mounts the folder
// may read it, whoever it runs as.
func (w *workload) share(key *ecdsa.PrivateKey, chain [][]byte) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(w.shared, KeyFile), text, 0o444); err != nil {
		return err
	}
	return replace(filepath.Join(w.shared, CertFile), encodeChain(chain), 0o444)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func encodeChain(chain [][]byte) (out []byte) {
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// replace writes a file so that readers, and a power cut, find the old or the
// new one.
func replace(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(f.Name()))
	}
	return nil
}
