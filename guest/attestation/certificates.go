package attestation

import "github.com/secretvm/secretvm/vm"

// The client of certificate authorities (package certificate) is a service of its
// own, without rights: it holds the workload's TLS key, which whoever speaks with
// strangers does not. guestd hands it the challenge's port, the folder that
// containers find keys in, and one of the disk that is its user's.
const (
	CertificatesPart = "certificates"

	AskShow = "show" // Report: nothing
	AskNote = "note" // string: nothing; tells a person
)

// CertificatesSettings is what it is started with.
type CertificatesSettings struct {
	Socket  string // on which it asks guestd
	Config  vm.ACME
	Request []byte // for the attestation service's key (PKCS #10, DER), which that key signed
	Disk    string // its folder
}

// Report is what it has come to.
type Report struct {
	Error        string // why there will be no certificates at all; empty: all well
	Certificates Certificates
	Chain        [][]byte // for the attestation service's key (DER, leaf first); nil: none since the start
}
