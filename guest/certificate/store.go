package certificate

import (
	"bytes"
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
// that can be read.
func (k *Keeper) loadAccount(file string) (err error) {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if block, _ := pem.Decode(b); block != nil {
		if k.account, err = x509.ParseECPrivateKey(block.Bytes); err == nil {
			return nil
		}
	}
	k.o.Note("this disk has a new account at its authority: CAA records that name another one must change")
	if k.account, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return fmt.Errorf("make account key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(k.account)
	if err != nil {
		return fmt.Errorf("encode account key: %w", err)
	}
	return replace(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// workload holds the key that containers use. Each request draws another.
type workload struct {
	file   string // key and chain, on the disk
	shared string
	key    *ecdsa.PrivateKey
}

// open shares what the disk holds, or else a certificate that its key has
// signed itself.
func (w *workload) open(e *entry, names []string) error {
	if b, err := os.ReadFile(w.file); err == nil {
		if pair, err := tls.X509KeyPair(b, b); err == nil {
			e.show(pair.Leaf)
			return w.share(b)
		}
	}
	if _, err := w.Request(names); err != nil { // for the key
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "secretvm: no authority has answered yet"}, DNSNames: names,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &w.key.PublicKey, w.key)
	if err != nil {
		return fmt.Errorf("sign the workload's own certificate: %w", err)
	}
	both, err := w.encode([][]byte{der})
	if err != nil {
		return err
	}
	return w.share(both)
}

// Request implements Holder.
func (w *workload) Request(names []string) (csr []byte, err error) {
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, w.key)
	}
	if err != nil {
		return nil, fmt.Errorf("request the workload's certificate: %w", err)
	}
	return csr, nil
}

// Install implements Holder.
func (w *workload) Install(chain [][]byte) error {
	both, err := w.encode(chain)
	if err != nil {
		return err
	}
	if _, err := tls.X509KeyPair(both, both); err != nil {
		return err
	}
	if err := replace(w.file, both, 0o600); err != nil {
		return err
	}
	return w.share(both)
}

// encode puts key and chain into one file.
func (w *workload) encode(chain [][]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	if err != nil {
		return nil, fmt.Errorf("encode the workload's key: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out, nil
}

// share puts both parts where containers find them, the certificate last: who
// sees it change finds its key there. All in a container that has the folder
// may read it, whoever it runs as.
func (w *workload) share(both []byte) error {
	at := bytes.Index(both, []byte("-----BEGIN CERTIFICATE"))
	if err := replace(filepath.Join(w.shared, KeyFile), both[:at], 0o444); err != nil {
		return err
	}
	return replace(filepath.Join(w.shared, CertFile), both[at:], 0o444)
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
