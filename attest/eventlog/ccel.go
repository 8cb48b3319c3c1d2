package eventlog

import (
	"bytes"
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

// Bounds. An ACPI table hands out the whole area that was set aside for the
// log, most of it padding.
const (
	maxArea       = 4 << 20
	maxEvents     = 4096
	maxAlgorithms = 8
)

// algSHA384 is TPM_ALG_SHA384 (TCG Algorithm Registry).
const algSHA384 = 0x000c

var specID = []byte("Spec ID Event03\x00")

// ParseCCEL reads the log area that the CCEL table points to. The area may end in
// padding, all ones or all zeros. Anything else that is not an event is
// refused (vm.CodeMalformed), as is more than vm.MaxBootLogSize of events
// (vm.CodeTooLarge). The log's data is not copied.
func ParseCCEL(area []byte) (Log, error) {
	if len(area) > maxArea {
		return nil, tooLarge("area of %d bytes, want at most %d", len(area), maxArea)
	}
	r := &reader{b: area}
	sizes, err := r.header()
	if err != nil {
		return nil, err
	}
	var log Log
	for !r.padding() {
		if len(log) == maxEvents {
			return nil, tooLarge("more than %d events", maxEvents)
		}
		e, err := r.event(sizes)
		if err != nil {
			return nil, err
		}
		if e.Type == NoAction {
			continue
		}
		log = append(log, e)
	}
	if len(log) == 0 {
		return nil, malformed("no event")
	}
	return log, nil
}

// reader walks little-endian fields; after an overrun it only yields zeros and
// short is set.
type reader struct {
	b     []byte
	at    int
	short bool
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.short, r.at = true, len(r.b)
		return nil
	}
	out := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return out
}

func (r *reader) u8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// padding reports whether nothing but padding is left. Neither an index of
// zero nor one of all ones begins an event, so this looks ahead once only.
func (r *reader) padding() bool {
	rest := r.b[r.at:]
	if len(rest) == 0 {
		return true
	}
	fill := rest[0]
	if fill != 0 && fill != 0xff {
		return false
	}
	for _, b := range rest {
		if b != fill {
			return false
		}
	}
	return true
}

// header reads the first entry, TCG_PCR_EVENT with TCG_EfiSpecIDEventStruct
// (PC Client Platform Firmware Profile, 10.4.5.1), and returns the digest size
// of each algorithm.
func (r *reader) header() (map[uint16]uint32, error) {
	r.u32() // index: 0 or 1 in the wild, and never extended
	typ, digest, size := r.u32(), r.bytes(20), r.u32()
	if r.short || Type(typ) != NoAction || len(bytes.Trim(digest, "\x00")) > 0 {
		return nil, malformed("it does not begin with a specification event")
	}
	h := &reader{b: r.bytes(size)}
	if r.short || !bytes.Equal(h.bytes(uint32(len(specID))), specID) {
		return nil, malformed("it is not of the crypto-agile format")
	}
	h.bytes(4 + 4) // platform class; minor, major, errata, size of UINTN
	n := h.u32()
	if h.short || n == 0 || n > maxAlgorithms {
		return nil, malformed("it names %d digest algorithms, want 1 to %d", n, maxAlgorithms)
	}
	sizes := make(map[uint16]uint32, n)
	for range n {
		alg, size := h.u16(), h.u16()
		if _, twice := sizes[alg]; twice {
			return nil, malformed("it names digest algorithm %#x twice", alg)
		}
		sizes[alg] = uint32(size)
	}
	h.bytes(uint32(h.u8())) // vendor information
	if h.short || h.at != len(h.b) {
		return nil, malformed("its specification event does not end where it says")
	}
	if sizes[algSHA384] != uint32(len(vm.Register{})) {
		return nil, malformed("it has no SHA-384 digests")
	}
	return sizes, nil
}

// event reads one CC_EVENT (UEFI 2.10, 38.4.1): register index, type, digests,
// data. Index 1 is RTMR0.
func (r *reader) event(sizes map[uint16]uint32) (e Event, err error) {
	start := r.at
	index, typ, n := r.u32(), r.u32(), r.u32()
	if r.short || n == 0 || n > uint32(len(sizes)) {
		return e, malformed("the entry at byte %d names %d digests, want 1 to %d", start, n, len(sizes))
	}
	if index == 0 && Type(typ) != NoAction || index > 4 {
		return e, malformed("the entry at byte %d names register %d, want 1 to 4", start, index)
	}
	seen := make(map[uint16]bool, n)
	for range n {
		alg := r.u16()
		size, known := sizes[alg]
		if r.short || !known || seen[alg] {
			return e, malformed("the entry at byte %d has a digest of algorithm %#x, unknown or twice", start, alg)
		}
		seen[alg] = true
		if digest := r.bytes(size); alg == algSHA384 {
			copy(e.Digest[:], digest)
		}
	}
	e.Register, e.Type, e.Data = int(index)-1, Type(typ), r.bytes(r.u32())
	switch {
	case r.short:
		return e, malformed("the entry at byte %d is cut off", start)
	case !seen[algSHA384]:
		return e, malformed("the entry at byte %d has no SHA-384 digest", start)
	case r.at > vm.MaxBootLogSize:
		return e, tooLarge("more than %d bytes of events", vm.MaxBootLogSize)
	}
	return e, nil
}

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "boot event log: "+format, args...).
		Try("expected the bytes of /sys/firmware/acpi/tables/data/CCEL")
}

func tooLarge(format string, args ...any) error {
	return vm.Refuse(vm.CodeTooLarge, "boot event log: "+format, args...)
}
