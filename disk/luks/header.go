package luks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/secretvm/secretvm/vm"
)

// Offsets of the binary header's fields (LUKS2 specification, figure 2).
// Integers are big-endian, strings are padded with NUL.
const (
	offMagic       = 0   // 6 bytes
	offVersion     = 6   // u16
	offSize        = 8   // u64: binary header and JSON area
	offSequence    = 16  // u64: raised by each change
	offLabel       = 24  // 48 bytes
	offChecksumAlg = 72  // 32 bytes
	offSalt        = 104 // 64 bytes: makes the two copies differ
	offUUID        = 168 // 40 bytes
	offSubsystem   = 208 // 48 bytes
	offPosition    = 256 // u64: where this copy lies
	offPadding     = 264 // 184 bytes
	offChecksum    = 448 // 64 bytes
	offPadding2    = 512
)

var (
	magicPrimary   = []byte("LUKS\xba\xbe")
	magicSecondary = []byte("SKUL\xba\xbe")
)

// Header is one disk's header, read once and checked. What is not in it is a
// constant of this package.
type Header struct {
	UUID string

	keySalt     []byte // PBKDF2 salt of the key slot, 32 bytes
	digestSalt  []byte // PBKDF2 salt of the volume key's digest, 32 bytes
	digest      []byte // 32 bytes
	keyMaterial []byte // the encrypted, split volume key: stripes * 64 bytes
}

// Blank reports whether the whole header area of a disk is zero, so that
// nothing of anybody's can be lost by formatting it.
func Blank(disk io.ReaderAt) (bool, error) {
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); off < PayloadOffset; off += int64(len(buf)) {
		if _, err := disk.ReadAt(buf, off); err != nil {
			return false, fmt.Errorf("read disk at byte %d: %w", off, noEOF(err))
		}
		if !bytes.Equal(buf, zeros) {
			return false, nil
		}
	}
	return true, nil
}

// Read reads the header area of a disk once and checks all of it: both copies
// intact and equal, every parameter as Format makes it. It never writes.
// Errors wrap ErrHeader unless the disk could not be read.
func Read(disk io.ReaderAt) (*Header, error) {
	area := make([]byte, metadataSize)
	if _, err := disk.ReadAt(area, 0); err != nil {
		return nil, fmt.Errorf("read LUKS2 header: %w", noEOF(err))
	}
	return Parse(area)
}

// Parse checks the first metadataSize bytes of a disk; see Read.
func Parse(area []byte) (*Header, error) {
	if len(area) != metadataSize {
		return nil, fmt.Errorf("LUKS2 header: %w: %d bytes, want %d", ErrHeader, len(area), metadataSize)
	}
	first, err := parseCopy(area[:headerSize], magicPrimary, 0)
	if err != nil {
		return nil, fmt.Errorf("LUKS2 header, first copy: %w: %w", ErrHeader, err)
	}
	second, err := parseCopy(area[headerSize:2*headerSize], magicSecondary, headerSize)
	if err != nil {
		return nil, fmt.Errorf("LUKS2 header, second copy: %w: %w", ErrHeader, err)
	}
	if first.sequence != second.sequence || first.uuid != second.uuid || !bytes.Equal(first.json, second.json) {
		return nil, fmt.Errorf("LUKS2 header: %w: its two copies differ", ErrHeader)
	}
	meta, err := parseMetadata(first.json)
	if err != nil {
		return nil, fmt.Errorf("LUKS2 header: %w: %w", ErrHeader, err)
	}
	return &Header{
		UUID:        first.uuid,
		keySalt:     meta.Keyslots["0"].KDF.Salt,
		digestSalt:  meta.Digests["0"].Salt,
		digest:      meta.Digests["0"].Digest,
		keyMaterial: bytes.Clone(area[keyslotOffset : keyslotOffset+stripes*len(VolumeKey{})]),
	}, nil
}

// binaryCopy is what one of the two copies says.
type binaryCopy struct {
	sequence uint64
	uuid     string
	json     []byte // up to the first NUL
}

func parseCopy(b, magic []byte, position uint64) (c binaryCopy, err error) {
	u64 := binary.BigEndian.Uint64
	switch {
	case !bytes.Equal(b[offMagic:offVersion], magic):
		return c, errors.New("the magic bytes are missing")
	case binary.BigEndian.Uint16(b[offVersion:]) != 2:
		return c, fmt.Errorf("version is %d, want 2", binary.BigEndian.Uint16(b[offVersion:]))
	case u64(b[offSize:]) != headerSize:
		return c, fmt.Errorf("size is %d, want %d", u64(b[offSize:]), headerSize)
	case u64(b[offPosition:]) != position:
		return c, fmt.Errorf("position is %d, want %d", u64(b[offPosition:]), position)
	case text(b[offChecksumAlg:offSalt]) != hashName:
		return c, fmt.Errorf("checksum is %q, want %q", text(b[offChecksumAlg:offSalt]), hashName)
	case !zero(b[offLabel:offChecksumAlg]), !zero(b[offSubsystem:offPosition]):
		return c, errors.New("it carries a label or subsystem, want none")
	case !zero(b[offPadding:offChecksum]), !zero(b[offPadding2:binarySize]):
		return c, errors.New("its padding is not zero")
	}
	// The checksum covers the whole copy with the checksum itself as zeros.
	unsummed := bytes.Clone(b)
	clear(unsummed[offChecksum:offPadding2])
	sum := sha256.Sum256(unsummed)
	if !bytes.Equal(sum[:], b[offChecksum:offChecksum+len(sum)]) || !zero(b[offChecksum+len(sum):offPadding2]) {
		return c, errors.New("the checksum does not hold: the header is damaged")
	}
	area := b[binarySize:]
	end := bytes.IndexByte(area, 0)
	if end < 0 || !zero(area[end:]) {
		return c, errors.New("the JSON area does not end in zeros")
	}
	return binaryCopy{sequence: u64(b[offSequence:]), uuid: text(b[offUUID:offSubsystem]), json: area[:end]}, nil
}

func parseMetadata(b []byte) (m metadata, err error) {
	if err := vm.DecodeStrict(b, &m); err != nil {
		return m, fmt.Errorf("decode metadata: %w", err)
	}
	return m, m.check()
}

// text returns a NUL-padded string.
func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// noEOF makes the end of a disk an error that says so: a short disk is a
// damaged one, not the end of a stream.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
