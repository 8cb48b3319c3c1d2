package acpi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/secretvm/secretvm/vm"
)

//go:generate go run ../../host/qtest/pack -output .

// MaxCPUs is how many machines each file has: one for each number of vCPUs.
const MaxCPUs = vm.MaxCPUs

// OriginName and PackedName name the files that go generate writes: tables of
// machines with as many GPUs are in one.
const OriginName = "origin.json"

// PackedName returns the name of a file with tables.
func PackedName(gpus int) string { return fmt.Sprintf("tables-%d.gz", gpus) }

var (
	//go:embed tables-*.gz
	packedTables embed.FS
	//go:embed origin.json
	packedOrigin []byte
)

// Origin says where the packed tables are from.
type Origin struct {
	QEMU      string   `json:"qemu"`      // what --version answers
	Arguments []string `json:"arguments"` // of the machine with one vCPU and no GPU
	WithGPUs  []string `json:"with_gpus"` // of the machine with one vCPU and as many GPUs as there may be
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

// unpacked holds what was unpacked, by the number of GPUs.
var unpacked = func() (files [vm.MaxShapeGPUs + 1]func() ([][]byte, error)) {
	for gpus := range files {
		files[gpus] = sync.OnceValues(func() ([][]byte, error) {
			packed, err := packedTables.ReadFile(PackedName(gpus))
			if err != nil {
				return nil, fmt.Errorf("unpack: %w", err)
			}
			return unpack(packed)
		})
	}
	return files
}()

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
