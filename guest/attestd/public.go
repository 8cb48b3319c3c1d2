package attestd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// A public certificate is shown to who asks for one of its names, so that
// browsers do not warn. It is for the key of this boot, which every quote
// names: what a quote binds does not depend on which certificate was shown.

// Install shows a chain (DER, leaf first) from now on to who asks for its
// names. A chain for another key is refused.
func (s *Server) Install(chain [][]byte) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return fmt.Errorf("install certificate: %w", err)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !key.Equal(&s.key.Private.PublicKey) {
		return vm.Refuse(vm.CodeInvalid, "install certificate: it is for another key than that of this boot")
	}
	s.key.mu.Lock()
	defer s.key.mu.Unlock()
	if s.key.public != nil && slices.EqualFunc(s.key.public.Certificate, chain, bytes.Equal) {
		return nil
	}
	s.key.public = &tls.Certificate{Certificate: chain, PrivateKey: s.key.Private, Leaf: leaf}
	return nil
}

// present returns the public certificate where it is for the name that the
// client asks for, else the machine's own.
func (k *bootKey) present(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k.learn != nil {
		k.learn(hello.ServerName)
	}
	k.mu.Lock()
	public := k.public
	k.mu.Unlock()
	if public != nil && public.Leaf.VerifyHostname(hello.ServerName) == nil && k.now().Before(public.Leaf.NotAfter) {
		return public, nil
	}
	return k.current()
}
