package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Strip returns a module without the two parts that cost time at every load
// and protect nothing here: the distribution's signature, since dm-verity or
// the measured initramfs covers the bytes of every module, and its BTF types,
// which only BPF programs read. b is not changed.
//
// The signature is cut off the end (include/linux/module_signature.h). BTF
// sections lose their name, by which alone the kernel finds them, and their
// content; offsets stay as they are.
func Strip(b []byte) ([]byte, error) {
	unsigned, err := cutSignature(b)
	if err != nil {
		return nil, err
	}
	return dropBTF(bytes.Clone(unsigned))
}

const signatureMagic = "~Module signature appended~\n"

// cutSignature removes a signature of PKCS #7 form: the message, then struct
// module_signature of 12 bytes whose last four are the message's length, big
// endian, then the magic string.
func cutSignature(b []byte) ([]byte, error) {
	rest, ok := bytes.CutSuffix(b, []byte(signatureMagic))
	if !ok {
		return b, nil
	}
	const trailer = 12
	if len(rest) < trailer {
		return nil, errors.New("strip module: its signature is cut off")
	}
	size := uint64(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	rest = rest[:len(rest)-trailer]
	if size > uint64(len(rest)) {
		return nil, fmt.Errorf("strip module: its signature claims %d bytes of %d", size, len(rest))
	}
	return rest[:uint64(len(rest))-size], nil
}

// dropBTF works on the section table in place (System V gABI, chapter 4,
// 64-bit little-endian): name 0 of a string table is the empty string.
func dropBTF(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	const header, entry = 64, 64
	if len(b) < header || string(b[:6]) != "\x7fELF\x02\x01" || le.Uint16(b[58:]) != entry {
		return nil, errors.New("strip module: not a 64-bit little-endian ELF file")
	}
	table, count, names := le.Uint64(b[40:]), uint64(le.Uint16(b[60:])), uint64(le.Uint16(b[62:]))
	size := uint64(len(b))
	if table > size || count*entry > size-table || names >= count {
		return nil, errors.New("strip module: its section table is outside the file")
	}
	section := func(i uint64) []byte { return b[table+i*entry:][:entry] }
	content := func(s []byte) ([]byte, error) {
		at, n := le.Uint64(s[24:]), le.Uint64(s[32:])
		if at > size || n > size-at {
			return nil, errors.New("strip module: a section is outside the file")
		}
		return b[at:][:n], nil
	}
	text, err := content(section(names))
	if err != nil {
		return nil, err
	}
	for i := range count {
		s := section(i)
		at := uint64(le.Uint32(s))
		if at >= uint64(len(text)) {
			continue
		}
		name, _, _ := bytes.Cut(text[at:], []byte{0})
		if n := string(name); n != ".BTF" && n != ".BTF.base" {
			continue
		}
		data, err := content(s)
		if err != nil {
			return nil, err
		}
		clear(data)
		le.PutUint32(s, 0)
	}
	return b, nil
}
