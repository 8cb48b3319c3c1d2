package verification

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// Systems whose machines are checked beside our own.
const (
	SystemSecretVM = "existing SecretVM"
	SystemDstack   = "dstack"
)

// system is a machine of another system: what of it is checked, and how.
type system interface {
	name() string
	checks() []Check
	missing() []string // what the caller did not say, as flags
	warnings() []string
}

// system returns nil for machines of our own system. A dstack log speaks for
// itself; a bare quote is held against the registry where one was passed.
func (f *finding) system() system {
	ev := f.answer.Attestation.Evidence
	switch {
	case f.answer.Log != nil:
		return newDstackSystem(f)
	case f.answer.Served != nil, f.want.Registry != nil && len(ev.Events) == 0 && f.answer.Config == nil:
		return newSecretVMSystem(f)
	}
	return nil
}

// checkBoundKey holds the connection's key against the first half of report
// data, where existing SecretVM machines have the digest of their TLS key or
// of their certificate. Their quotes are made at boot and answer no nonce.
func (f *finding) checkBoundKey() (connection, fresh Check) {
	fresh = fact("fresh", "not provable: this system's quotes are made at boot and answer no random number", "")
	bound := f.verdict.ReportData[:len(vm.Hash{})]
	switch {
	case f.answer.TLSKey.IsZero():
		connection = fact("connection", "not checked: nobody saw a connection", "the quote binds %x", bound)
	case bytes.Equal(bound, f.answer.TLSKey[:]):
		connection = holds("connection", "this TLS connection ends in the attested VM", "key sha256 %s", short(f.answer.TLSKey))
	case !f.answer.TLSCert.IsZero() && bytes.Equal(bound, f.answer.TLSCert[:]):
		connection = holds("connection", "this TLS connection ends in the attested VM", "certificate sha256 %s", short(f.answer.TLSCert))
	default:
		found := f.answer.TLSKey.String()
		if !f.answer.TLSCert.IsZero() {
			found += " (certificate " + f.answer.TLSCert.String() + ")"
		}
		connection = fails("connection", vm.Refuse(vm.CodeReportData, "the quote is about another TLS key than this connection's: somebody sits between you and the machine, or the quote is another machine's").
			On("TLS key", found, hex.EncodeToString(bound)).
			Try("connect to the machine itself, not through a proxy that ends TLS"))
	}
	if f.answer.Recorded && connection.OK == Holds {
		connection.What = "the recorded TLS connection ended in the attested VM"
	}
	return f.checkFreshness(connection, fresh)
}

// platform is the check of the platform, by its kind.
func (f *finding) platform() Check {
	if f.verdict.SNP != nil {
		return f.checkPlatformSNP()
	}
	return f.checkPlatform()
}

// images names what a machine may be, for people.
func images[T interface{ String() string }](list []T) string {
	const most = 6
	var names []string
	for _, i := range list {
		name := i.String()
		if len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		if len(names) == most {
			names = append(names, "…")
			break
		}
		names = append(names, name)
	}
	return strings.Join(names, " or ")
}

// noRegistry is what is said of an image that nothing was compared with.
const noRegistry = "not compared: pass a registry of known images with --registry"

// matched returns the images of matches.
func matched(matches []peer.Match) (out []peer.Image) {
	for _, m := range matches {
		out = append(out, m.Image)
	}
	return out
}
