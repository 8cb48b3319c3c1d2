package snp

import (
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"sync"
)

// AMD publishes root and issuer of each product line at
// https://kdsintf.amd.com/{vcek,vlek}/v1/{Milan,Genoa,Turin}/cert_chain.
// SHA-256 of the roots' DER:
//
//	ARK-Milan 69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd
//	ARK-Genoa 4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1
//	ARK-Turin 1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a
//
// They were compared between four independent copies, and a test compares
// them with those in the vectors. Another test checks that each issuer was
// signed by its root.
var (
	//go:embed amd_arks.pem
	rootsPEM []byte
	//go:embed amd_intermediates.pem
	intermediatesPEM []byte
)

// Roots returns AMD's production roots (ARKs) of Milan, Genoa and Turin. They
// are shared: do not change them.
var Roots = sync.OnceValue(func() []*x509.Certificate { return embedded(rootsPEM) })

// Intermediates returns AMD's production issuers, in the order of their roots:
// the ASKs of Milan, Genoa and Turin, then the ASVKs. They are shared: do not change them.
var Intermediates = sync.OnceValue(func() []*x509.Certificate { return embedded(intermediatesPEM) })

func embedded(b []byte) (certs []*x509.Certificate) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic("snp: embedded certificate: " + err.Error())
		}
		certs = append(certs, cert)
	}
	return certs
}
