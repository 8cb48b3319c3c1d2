package acpi

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

//go:generate go run ../../host/qtest/pack -output .

// MaxCPUs is how many machines are packed: one for each number of vCPUs.
const MaxCPUs = 64

// Names of the files that go generate writes.
const (
	PackedName = "tables.gz"
	OriginName = "origin.json"
)

var (
	//go:embed tables.gz
	packedTables []byte
	//go:embed origin.json
	packedOrigin []byte
)

// Origin says where the packed tables are from.
type Origin struct {
	QEMU      string   `json:"qemu"`      // what --version answers
	Arguments []string `json:"arguments"` // of the machine with one vCPU
}

// PackedOrigin returns the origin of the packed tables.
func PackedOrigin() (o Origin, err error) {
	if err = json.Unmarshal(packedOrigin, &o); err != nil {
		err = fmt.Errorf("read origin of ACPI tables: %w", err)
	}
	return o, err
}

// Pack compresses etc/acpi/tables of the machines with one vCPU and on, all with
// 2 GiB: u32 length and bytes each, without padding.
func Pack(machines [][]byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("pack ACPI tables: %w", err)
	}
	for _, tables := range machines {
		tables = bytes.TrimRight(tables, "\x00")
		record := append(binary.LittleEndian.AppendUint32(nil, uint32(len(tables))), tables...)
		if _, err := w.Write(record); err != nil {
			return nil, fmt.Errorf("pack ACPI tables: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack ACPI tables: %w", err)
	}
	return out.Bytes(), nil
}

var unpacked = sync.OnceValues(func() ([][]byte, error) { return unpack(packedTables) })

// unpack is the inverse of Pack.
func unpack(packed []byte) ([][]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	machines := make([][]byte, 0, MaxCPUs)
	for {
		var size uint32
		err := binary.Read(r, binary.LittleEndian, &size)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if size > tablesSize || len(machines) == MaxCPUs {
			return nil, fmt.Errorf("unpack: machine %d has %d bytes, want at most %d machines of %d", len(machines), size, MaxCPUs, tablesSize)
		}
		tables := make([]byte, size)
		if _, err := io.ReadFull(r, tables); err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		machines = append(machines, tables)
	}
	if len(machines) != MaxCPUs {
		return nil, fmt.Errorf("unpack: %d machines, want %d", len(machines), MaxCPUs)
	}
	return machines, nil
}
