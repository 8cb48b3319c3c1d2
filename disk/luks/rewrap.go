package luks

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// stagingOffset is where a header waits while the one in its place is being
// replaced: half-way through the unused part of the header area.
const stagingOffset = PayloadOffset / 2

// Open reads the header of a disk and unlocks it with the first of the keys that
// fits: the one that the disk is meant to have, or one that it had before. A
// header that is damaged, or that no key opens, may be one that Renew was
// replacing when the power went: then the one that waits beside it is taken. The
// disk is not written to; stale says that Renew has something to do. The error is
// about the header in its place.
func Open(disk io.ReaderAt, current Key, older ...Key) (volume *VolumeKey, stale bool, err error) {
	in, err := openAt(disk, 0, current, older)
	if err == nil {
		return in.volume, in.old, nil
	}
	if !errors.Is(err, ErrHeader) && !errors.Is(err, ErrWrongKey) {
		return nil, false, err
	}
	if beside, waits := openAt(disk, stagingOffset, current, older); waits == nil {
		return beside.volume, true, nil
	}
	return nil, false, err
}

// found is a header that opened.
type found struct {
	area   []byte
	uuid   string
	volume *VolumeKey
	old    bool // with a key of before
}

func openAt(disk io.ReaderAt, off int64, current Key, older []Key) (f found, err error) {
	f.area = make([]byte, metadataSize)
	if _, err := disk.ReadAt(f.area, off); err != nil {
		return f, fmt.Errorf("read LUKS2 header: %w", noEOF(err))
	}
	header, err := Parse(f.area)
	if err != nil {
		return f, err
	}
	f.uuid = header.UUID
	f.volume, err = header.Unlock(current)
	for _, key := range older {
		if !errors.Is(err, ErrWrongKey) {
			break
		}
		f.old = true
		f.volume, err = header.Unlock(key)
	}
	return f, err
}

// Renew makes a disk that Open called stale open with current and with no other
// key: the volume key stays, and so does every byte of the payload. What a power
// cut interrupts, the next Open and Renew finish.
//
// The new header is written beside its place, then to its place, and then taken
// away from beside it, with a sync after each: at every moment one of the two is
// whole.
func Renew(ctx context.Context, run Runner, cryptsetup string, disk Disk, current Key, older ...Key) error {
	in, err := openAt(disk, 0, current, older)
	if err != nil { // interrupted before: finish that
		if in, err = openAt(disk, stagingOffset, current, older); err != nil {
			return fmt.Errorf("renew LUKS2 header: %w", err)
		}
		if err := writeHeader(disk, in.area); err != nil {
			return err
		}
	}
	defer clear(in.volume[:])
	if in.old {
		area, err := wrap(ctx, run, cryptsetup, in, current)
		if err != nil {
			return err
		}
		if err := writeSynced(disk, area, stagingOffset); err != nil {
			return err
		}
		if err := writeHeader(disk, area); err != nil {
			return err
		}
	}
	return writeSynced(disk, make([]byte, metadataSize), stagingOffset)
}

// wrap makes a header for the same volume key under another key.
func wrap(ctx context.Context, run Runner, cryptsetup string, in found, key Key) ([]byte, error) {
	secret, err := memoryFile("volume-key")
	if err != nil {
		return nil, err
	}
	defer secret.Close()
	if _, err := secret.Write(in.volume[:]); err != nil {
		return nil, fmt.Errorf("pass the volume key: %w", err)
	}
	area, _, volume, err := makeHeader(ctx, run, cryptsetup, key, []string{"--uuid", in.uuid, "--volume-key-file", "/proc/self/fd/4"}, secret)
	if err != nil {
		return nil, err
	}
	defer clear(volume[:])
	if *volume != *in.volume {
		return nil, errors.New("check the header that cryptsetup made: it has another volume key")
	}
	return area, nil
}
