package verification

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// NonceSize is the number of random bytes that a quote must answer.
const NonceSize = 32

// Answer is what a machine said, and what was seen of the connection over
// which it said so. Nothing in it is believed yet. Evidence that was found in
// a file has no connection: URL, TLSKey, Nonce and Asked are then zero, and
// what they would show stays open.
type Answer struct {
	URL         string
	TLSKey      vm.Hash // SHA-256 of the SubjectPublicKeyInfo that the handshake proved
	Nonce       []byte  // ours
	Exporter    []byte  // keying material of our connection (vm.ExporterLabel), which the quote then has to bind; nil: not asked for
	Claims      []byte  // evidence came in a certificate, with these claims about its key (vm.CertificateClaims), and no nonce was asked
	Asked       time.Time
	Took        time.Duration
	Attestation vm.Attestation
	Config      []byte       // served as the canonical config
	Log         []byte       // dstack's event log (JSON), where the evidence is of such a machine
	Served      *peer.Served // what a machine of another system says beside evidence; nil for our own
	TLSCert     vm.Hash      // SHA-256 of the certificate's DER, which existing SecretVM machines may bind
	Container   *Container   // evidence is about a container's data or the application's log; nil: about the machine's TLS key
	Recorded    bool         // read from a bundle: the connection and the nonce are its maker's word
}

// Connected reports whether evidence came over a connection that somebody saw.
func (a Answer) Connected() bool {
	return !a.TLSKey.IsZero() && (len(a.Nonce) > 0 || a.Claims != nil)
}

// unasked reports whether nobody could have been asked for the config.
func (a Answer) unasked() bool { return a.Config == nil && (a.Claims != nil || !a.Connected()) }

// ParseAttestation reads the JSON answer to a nonce. Fields that later
// versions add are ignored; everything that counts is bound by the quote.
func ParseAttestation(body []byte) (vm.Attestation, error) {
	var at vm.Attestation
	malformed := func(format string, args ...any) (vm.Attestation, error) {
		return vm.Attestation{}, vm.Refuse(vm.CodeMalformed, "the answer is not an attestation: "+format, args...).
			Try("is the port that of the attestation service (29343)?")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&at); err != nil {
		return malformed("%.200q", err.Error())
	}
	if _, err := dec.Token(); err != io.EOF {
		return malformed("trailing bytes")
	}
	if len(at.Nonce) > 2*vm.MaxNonceSize {
		return malformed("its nonce has %d characters", len(at.Nonce))
	}
	if len(at.Evidence.Events) > vm.MaxEvents {
		return malformed("%d events, at most %d are allowed", len(at.Evidence.Events), vm.MaxEvents)
	}
	return at, nil
}
