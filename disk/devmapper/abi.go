package devmapper

import (
	"encoding/binary"
	"fmt"
)

// Commands: _IOWR(0xfd, nr, struct dm_ioctl of 312 bytes).
const (
	cmdCreate  = 0xc138fd03
	cmdRemove  = 0xc138fd04
	cmdSuspend = 0xc138fd06
	cmdLoad    = 0xc138fd09
)

const (
	flagReadOnly = 1 << 0
	flagSecure   = 1 << 15 // DM_SECURE_DATA_FLAG: wipe the buffers of this call
)

// Layout of struct dm_ioctl; integers are in native byte order.
const (
	offVersion     = 0  // u32[3]: 4, 0, 0 is what every kernel of this century accepts
	offDataSize    = 12 // u32: the whole buffer
	offDataStart   = 16 // u32: where the targets start
	offTargetCount = 20 // u32
	offFlags       = 28 // u32
	offDev         = 40 // u64: device number, set by the kernel
	offName        = 48 // char[128]
	offUUID        = 176
	uuidSize       = 129
	headerSize     = 312
)

// Layout of struct dm_target_spec, followed by the parameters with a NUL.
const (
	offLength  = 8  // u64: sectors; the start before it is 0
	offNext    = 20 // u32: offset of the next target
	offType    = 24 // char[16]
	targetSize = 40
)

// request is one call: a device and, for load, its only target.
type request struct {
	name, uuid string
	flags      uint32
	target     *Target
}

func (r request) encode() ([]byte, error) {
	if len(r.name) == 0 || len(r.name) >= offUUID-offName || len(r.uuid) >= uuidSize {
		return nil, fmt.Errorf("mapped device name %q or uuid %q is too long or empty", r.name, r.uuid)
	}
	size := headerSize
	if r.target != nil {
		if len(r.target.Type) == 0 || len(r.target.Type) >= targetSize-offType {
			return nil, fmt.Errorf("target type %q is too long or empty", r.target.Type)
		}
		size += (targetSize + len(r.target.Params) + 1 + 7) &^ 7
	}
	b := make([]byte, size)
	u32 := binary.NativeEndian.PutUint32
	u32(b[offVersion:], 4)
	u32(b[offDataSize:], uint32(size))
	u32(b[offDataStart:], headerSize)
	u32(b[offFlags:], r.flags)
	copy(b[offName:], r.name)
	copy(b[offUUID:], r.uuid)
	if r.target != nil {
		u32(b[offTargetCount:], 1)
		spec := b[headerSize:]
		binary.NativeEndian.PutUint64(spec[offLength:], r.target.Sectors)
		u32(spec[offNext:], uint32(size-headerSize))
		copy(spec[offType:], r.target.Type)
		copy(spec[targetSize:], r.target.Params)
	}
	return b, nil
}
