package peer

import (
	"encoding/pem"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// Attestation is dstack's own container of evidence (dstack 0.6): what its
// guest agent answers to Attest, and what its verifier takes.
type Attestation struct {
	Evidence vm.Evidence  // quote or report; for SEV-SNP with the certificates that came along
	Log      eventlog.Log // of RTMR3 on TDX; on SEV-SNP no register binds it
	MrConfig []byte       // SEV-SNP: the document that HOST_DATA binds
	VMConfig []byte       // JSON of the launch
}

// Kinds of quote in the container, its second byte. Others (Google's and
// Amazon's machines) are not read.
const (
	kindTDX = 0
	kindSNP = 3
)

const maxAttestation = 1 << 20

// IsAttestation reports whether b begins as the container does: version 0, a
// kind, and the size that such a quote has at least.
func IsAttestation(b []byte) bool {
	return len(b) > 1024 && b[0] == 0 && (b[1] == kindTDX || b[1] == kindSNP)
}

// ParseAttestation reads the container. Its encoding is SCALE (Parity's codec):
// fields one after another, a compact length before what has one.
func ParseAttestation(b []byte) (a Attestation, err error) {
	if len(b) > maxAttestation {
		return a, vm.Refuse(vm.CodeTooLarge, "dstack attestation has %d bytes, want at most %d", len(b), maxAttestation)
	}
	if !IsAttestation(b) {
		return a, vm.Refuse(vm.CodeMalformed, "the attestation is of no kind that dstack has on TDX or SEV-SNP")
	}
	r := &scale{b: b[2:]}
	switch b[1] {
	case kindTDX:
		a.Evidence = vm.Evidence{TEE: vm.TDX, Quote: r.bytes()}
		a.Log = r.log()
	case kindSNP:
		a.Evidence = vm.Evidence{TEE: vm.SNP, Quote: r.bytes(), AMD: amd(r.list())}
		a.MrConfig = r.bytes()
	}
	for range r.length() { // the runtime events once more, in short
		name, payload := r.bytes(), r.bytes()
		if r.short {
			break
		}
		if b[1] == kindSNP {
			a.Log = append(a.Log, runtime(string(name), payload))
		}
	}
	r.take(64) // report data, which the quote has
	a.VMConfig = r.bytes()
	switch {
	case r.short:
		return Attestation{}, vm.Refuse(vm.CodeMalformed, "dstack attestation is cut off")
	case len(r.b) > 0:
		return Attestation{}, vm.Refuse(vm.CodeMalformed, "dstack attestation has %d bytes too many", len(r.b))
	}
	return a, nil
}

func runtime(name string, payload []byte) eventlog.Event {
	e := vm.RuntimeEvent(name, payload)
	return eventlog.Event{Register: e.Register, Type: eventlog.Runtime, Digest: e.Digest, Data: e.Payload, Name: e.Name}
}

// log reads the events of a TDX machine and keeps those of RTMR3. Of the
// firmware's, "lite" attestations have a few, which explain no register.
func (r *scale) log() (log eventlog.Log) {
	for range r.length() {
		register, typ := r.u32(), r.u32()
		_, name, payload := r.bytes(), r.bytes(), r.bytes() // the digest follows from the others
		if r.short {
			return nil
		}
		if register == vm.RuntimeRegister && eventlog.Type(typ) == eventlog.Runtime {
			log = append(log, runtime(string(name), payload))
		}
	}
	return log
}

// amd sorts the certificates beside a report, PEM: the endorsement key's is
// the last, above it its issuer and, where it came along, the root.
func amd(chain [][]byte) *vm.AMDCollateral {
	if len(chain) == 0 {
		return nil
	}
	c := &vm.AMDCollateral{}
	for _, cert := range chain[:len(chain)-1] {
		c.Chain = append(c.Chain, cert...)
	}
	if block, _ := pem.Decode(chain[len(chain)-1]); block != nil {
		c.EndorsementKey = block.Bytes
	}
	return c
}

// scale reads the codec; after an overrun it yields nothing and short is set.
type scale struct {
	b     []byte
	short bool
}

func (r *scale) take(n int) []byte {
	if r.short || n > len(r.b) {
		r.short = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *scale) u32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// length reads a compact number: the low two bits of the first byte say how
// many bytes it has. One that is longer than the rest of the input is no
// length of anything in it, nor is one written in more bytes than it needs.
func (r *scale) length() int {
	if len(r.b) == 0 {
		r.short = true
		return 0
	}
	size := map[byte]int{0: 1, 1: 2, 2: 4}[r.b[0]&3] // longer ones are over every bound here
	raw := r.take(size)
	if size == 0 || raw == nil {
		r.short = true
		return 0
	}
	n := 0
	for i, c := range raw {
		n |= int(c) << (8 * i)
	}
	n >>= 2
	if n > len(r.b) || size == 2 && n < 1<<6 || size == 4 && n < 1<<14 {
		r.short = true
		return 0
	}
	return n
}

func (r *scale) bytes() []byte { return r.take(r.length()) }

func (r *scale) list() (out [][]byte) {
	for range r.length() {
		b := r.bytes()
		if r.short {
			return nil
		}
		out = append(out, b)
	}
	return out
}
