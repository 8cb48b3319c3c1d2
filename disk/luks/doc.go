// Package luks reads, unlocks and makes the one form of LUKS2 header that a
// secretvm data disk may carry. It is strict where cryptsetup is lenient: a
// header either is exactly what Format makes, or it is refused and nothing is
// written.
//
// Why the header is read and the key slot opened here instead of by
// cryptsetup: the disk belongs to the adversary. A tool that reads the header
// once to check it and a second time to use it can be given two different
// headers (a null cipher the second time), and cryptsetup repairs a damaged
// copy on its own, which writes to a disk that was about to be refused. Here
// the header is read once into memory, every parameter in it must equal a
// constant of this package, and dm-crypt is set up from the constants. What is
// taken from the disk is two salts, the split key and a digest; none of them
// can weaken anything, because the volume key only follows from them together
// with the disk's key. The algorithms are the standard library's and
// golang.org/x/crypto's; the layout is 300 lines.
//
// Making a header stays with Debian's cryptsetup, run on an anonymous file in
// memory: the tool never sees the disk, and the disk never sees a header that
// was not read back and unlocked first.
//
// Why PBKDF2 with 1000 iterations, the least that LUKS allows: stretching
// protects keys that can be guessed. This key is 32 uniformly random bytes
// derived by the key manager; a stretched one would cost 14 s of every boot
// (argon2id's default) and protect nothing.
//
// References: LUKS2 On-Disk Format Specification, version 1.1.4; LUKS1
// On-Disk Format Specification 1.2.3, section 2.4 (anti-forensic splitter).
package luks

import "errors"

// The fixed geometry of a data disk, in bytes.
const (
	PayloadOffset = 16 << 20 // encrypted data starts here; everything before is header
	SectorSize    = 4096     // unit of encryption
	headerSize    = 16 << 10 // one copy: binary header and JSON area
	binarySize    = 4096
	keyslotOffset = 2 * headerSize
	stripes       = 4000
	keyslotSize   = 258048                  // stripes * volume key, rounded up to 4096
	metadataSize  = keyslotOffset + 256<<10 // the part of the header area that is ever written
)

// The fixed cryptography of a data disk.
const (
	Cipher     = "aes-xts-plain64"
	hashName   = "sha256"
	iterations = 1000
)

// Errors that Read and Unlock wrap.
var (
	ErrHeader   = errors.New("not a header that this system made")
	ErrWrongKey = errors.New("the disk does not open with this key")
)

// Key is what the key manager derives for a disk. It never prints.
type Key [32]byte

// VolumeKey is the AES-256-XTS key of the payload: two AES keys of 32 bytes.
// It never prints.
type VolumeKey [64]byte

func (Key) String() string         { return "redacted" }
func (Key) GoString() string       { return "redacted" }
func (VolumeKey) String() string   { return "redacted" }
func (VolumeKey) GoString() string { return "redacted" }
