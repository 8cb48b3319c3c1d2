package snp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// What is read of an ATTESTATION_REPORT (SEV-SNP firmware ABI 1.58, table 23):
// enough to see that the answer is to the question. Verifiers read the rest.
const (
	reportSize   = 0x4a0
	vmplAt       = 0x30 // u32, little-endian
	dataAt       = 0x50 // 64 bytes: REPORT_DATA
	hostDataAt   = 0xc0
	hostDataSize = 32
)

// provider is the name that the SNP guest driver has in configfs-tsm.
const provider = "sev_guest"

// level is the privilege level (VMPL) that reports are asked for: the highest,
// where Linux runs in machines that have nothing beside it.
const level = "0"

// check returns the report without what may follow it.
func check(blob []byte, reportData [64]byte) ([]byte, error) {
	if len(blob) < reportSize {
		return nil, fmt.Errorf("report has %d bytes, want %d", len(blob), reportSize)
	}
	blob = blob[:reportSize]
	if !bytes.Equal(blob[dataAt:dataAt+len(reportData)], reportData[:]) {
		return nil, errors.New("report is about other data than was asked for")
	}
	if vmpl := binary.LittleEndian.Uint32(blob[vmplAt:]); strconv.FormatUint(uint64(vmpl), 10) != level {
		return nil, fmt.Errorf("report is of VMPL %d, want %s", vmpl, level)
	}
	return blob, nil
}
