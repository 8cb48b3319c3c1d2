package luks

import (
	"encoding/hex"
	"fmt"

	"github.com/secretvm/secretvm/disk/devmapper"
)

// table is the dm-crypt target for the payload of a disk of size bytes:
// cipher, key, IV offset, device, start, and the sector size
// (Documentation/admin-guide/device-mapper/dm-crypt.rst). No discards: they
// would tell the host which blocks are in use. No work queues: whoever writes
// encrypts, and reads are decrypted where they arrive, without another thread to
// wake for each block.
func table(device string, size int64, key *VolumeKey) (devmapper.Target, error) {
	payload := (size - PayloadOffset) &^ (SectorSize - 1)
	if payload <= 0 {
		return devmapper.Target{}, fmt.Errorf("disk %s has %d bytes, want more than %d", device, size, PayloadOffset)
	}
	params := fmt.Appendf(nil, "%s ", Cipher)
	params = hex.AppendEncode(params, key[:])
	params = fmt.Appendf(params, " 0 %s %d 3 sector_size:%d no_read_workqueue no_write_workqueue", device, PayloadOffset/512, SectorSize)
	return devmapper.Target{Type: "crypt", Sectors: uint64(payload / 512), Params: params, Secret: true}, nil
}

// Activate maps the payload of device (its path; size in bytes) under name
// and returns the path of the plaintext device.
func Activate(name, device string, size int64, key *VolumeKey) (path string, err error) {
	t, err := table(device, size, key)
	if err != nil {
		return "", err
	}
	defer clear(t.Params)
	path, err = devmapper.Create(name, "SECRETVM-"+name, false, t)
	if err != nil {
		return "", fmt.Errorf("open encrypted disk %s: %w", device, err)
	}
	return path, nil
}

// Deactivate takes the plaintext device away; the kernel forgets the key.
func Deactivate(name string) error { return devmapper.Remove(name) }
