package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ManifestName is the manifest's file name inside an image folder.
const ManifestName = "manifest.json"

// Manifest describes one built image: its files, their digests, and what a
// machine that boots them will measure.
type Manifest struct {
	Version     int           `json:"version"`                // 1
	Name        string        `json:"name"`                   // image name, e.g. "base"
	Release     string        `json:"release"`                // e.g. "v0.1.0"
	Dev         bool          `json:"dev,omitempty"`          // for development: CommandLine says so too
	Firmware    File          `json:"firmware"`               // of TDX and soft machines
	SNPFirmware *File         `json:"snp_firmware,omitempty"` // of SEV-SNP machines, where the image has one
	Kernel      File          `json:"kernel"`
	Initramfs   File          `json:"initramfs"`
	Rootfs      File          `json:"rootfs"` // erofs with the dm-verity hash tree appended
	Verity      Verity        `json:"verity"`
	CommandLine string        `json:"command_line"` // holds the verity root hash; given to QEMU byte for byte
	Predictions []Prediction  `json:"predictions"`
	Packages    []PackageFile `json:"packages"` // what the image was made from, in the order of the lock; then modules
}

// DevArgument stands on the measured command line of images for development.
const DevArgument = "secretvm.dev=1"

// IsDev reports whether a kernel command line is that of an image for development.
func IsDev(commandLine string) bool {
	return slices.Contains(strings.Fields(commandLine), DevArgument)
}

// File is one artifact, beside the manifest.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 Hash   `json:"sha256"`
}

// Verity is the dm-verity description of Rootfs: format 1, SHA-256, data and
// hash blocks of 4096 bytes, no superblock, hash tree at DataBlocks*4096.
type Verity struct {
	RootHash   Hash  `json:"root_hash"`
	Salt       Hash  `json:"salt"`
	DataBlocks int64 `json:"data_blocks"`
}

// PackageFile names one Debian package, or one Go module by its path: its SHA256
// is what go.sum has of it (h1).
type PackageFile struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  Hash   `json:"sha256"`
}

// Prediction is what one shape will measure at launch; RTMR3 follows from the
// workload and is not in it.
type Prediction struct {
	TEE   TEE      `json:"tee"` // tdx (soft machines measure as tdx ones)
	Shape Shape    `json:"shape"`
	MRTD  Register `json:"mrtd"`
	RTMR0 Register `json:"rtmr0"`
	RTMR1 Register `json:"rtmr1"`
	RTMR2 Register `json:"rtmr2"`
}

// Files are all files beside the manifest.
func (m Manifest) Files() []File {
	files := []File{m.Firmware, m.Kernel, m.Initramfs, m.Rootfs}
	if m.SNPFirmware != nil {
		files = append(files, *m.SNPFirmware)
	}
	return files
}

// FirmwareOf returns the firmware that machines in tee are started with.
func (m Manifest) FirmwareOf(tee TEE) File {
	if tee == SNP && m.SNPFirmware != nil {
		return *m.SNPFirmware
	}
	return m.Firmware
}

// Encode returns the manifest as indented JSON with a final newline.
func (m Manifest) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return buf.Bytes(), nil
}

// ParseManifest reads a manifest; unknown fields are errors.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("decode manifest: %w", err)
	}
	if m.Version != 1 {
		return m, fmt.Errorf("decode manifest: version is %d, want 1", m.Version)
	}
	if m.Dev != IsDev(m.CommandLine) {
		return m, fmt.Errorf("decode manifest: dev is %t, and the command line says otherwise", m.Dev)
	}
	for _, f := range m.Files() {
		if f.Name == "" || f.Size <= 0 || f.SHA256.IsZero() {
			return m, fmt.Errorf("decode manifest: file %q lacks its name, size or SHA-256", f.Name)
		}
	}
	return m, nil
}
