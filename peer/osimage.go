package peer

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"strings"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// OSImage is an OS image of dstack (0.6) as its measurement document describes
// it. The document is chained to the image's name: Hash is the SHA-256 of a
// checksum file, and that names the SHA-256 of the document. So it may come
// from the machine; only the name must come from who knows what is good.
type OSImage struct {
	Hash vm.Hash // os_image_hash

	mrtd         []vm.Register // TDX: of one page order of the host, or the other
	rtmr1, rtmr2 vm.Register
	launch       *snp.Launch // SEV-SNP
}

// ParseOSImage reads the description that a launch configuration (vm_config)
// carries, nil where it carries none. A broken chain is refused
// (vm.CodeMalformed): the machine says two things about one image.
func ParseOSImage(vmConfig []byte) (*OSImage, error) {
	var config struct {
		Name vm.Hash         `json:"os_image_hash"`
		TDX  json.RawMessage `json:"tdx_measurement"`
		SNP  json.RawMessage `json:"sev_snp_measurement"`
	}
	malformed := func(format string, args ...any) (*OSImage, error) {
		return nil, vm.Refuse(vm.CodeMalformed, "description of the OS image: "+format, args...)
	}
	if len(vmConfig) == 0 || json.Unmarshal(vmConfig, &config) != nil || config.TDX == nil && config.SNP == nil {
		return nil, nil
	}
	file, raw := "measurement.tdx.cbor", config.TDX
	if raw == nil {
		file, raw = "measurement.snp.cbor", config.SNP
	}
	var inText string
	if json.Unmarshal(raw, &inText) == nil {
		raw = []byte(inText)
	}
	var said struct {
		Document  []byte `json:"measurement"`   // CBOR
		Checksums []byte `json:"checksum_file"` // as sha256sum writes it
		CPUs      int    `json:"vcpus"`
		CPU       string `json:"vcpu_type"`
		Features  uint64 `json:"guest_features"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return malformed("%.100q", err.Error())
	}
	image := &OSImage{Hash: vm.HashOf(said.Checksums)}
	if image.Hash != config.Name {
		return malformed("its checksum file is not the one that os_image_hash names")
	}
	if !listed(said.Checksums, vm.HashOf(said.Document), file) {
		return malformed("its checksum file does not list its measurement document")
	}
	document, err := parseCBOR(said.Document)
	if err != nil {
		return malformed("%v", err)
	}
	if config.TDX != nil {
		err = image.readTDX(document)
	} else {
		image.launch = &snp.Launch{CPUs: said.CPUs, Features: said.Features}
		if image.launch.CPU, err = snp.Signature(said.CPU); err == nil {
			err = image.readSNP(document)
		}
	}
	if err != nil {
		return malformed("%v", err)
	}
	return image, nil
}

// listed reports whether a line of a checksum file names the digest for file.
func listed(checksums []byte, digest vm.Hash, file string) bool {
	for line := range bytes.Lines(checksums) {
		if strings.TrimRight(string(line), "\n") == digest.String()+"  "+file {
			return true
		}
	}
	return false
}

// readTDX reads {image: {kernel_authenticode, cmdline_sha384, initrd_sha384},
// tdvf: {mrtd: {single_pass, two_pass}}}.
func (i *OSImage) readTDX(document map[string]any) error {
	boot, _ := document["image"].(map[string]any)
	firmware, _ := document["tdvf"].(map[string]any)
	orders, _ := firmware["mrtd"].(map[string]any)
	var kernel, options, initrd vm.Register
	for _, f := range []struct {
		from map[string]any
		name string
		to   *vm.Register
	}{{boot, "kernel_authenticode", &kernel}, {boot, "cmdline_sha384", &options}, {boot, "initrd_sha384", &initrd}} {
		if err := readBytes(f.to[:], f.from[f.name]); err != nil {
			return err
		}
	}
	for _, name := range []string{"single_pass", "two_pass"} {
		var mrtd vm.Register
		if orders[name] == nil {
			continue
		}
		if err := readBytes(mrtd[:], orders[name]); err != nil {
			return err
		}
		i.mrtd = append(i.mrtd, mrtd)
	}
	// What the firmware measures around the kernel (measure, "kernel").
	i.rtmr1 = vm.Register{}.Extend(kernel)
	for _, text := range []string{
		"Calling EFI Application from Boot Option", "\x00\x00\x00\x00", "Exit Boot Services Invocation", "Exit Boot Services Returned with Success",
	} {
		i.rtmr1 = i.rtmr1.Extend(sha512.Sum384([]byte(text)))
	}
	i.rtmr2 = vm.Register{}.Extend(options).Extend(initrd)
	return nil
}

func (i *OSImage) readSNP(document map[string]any) error {
	l, hashes := i.launch, snp.Hashes{}
	for _, f := range []struct {
		name string
		to   []byte
	}{{"ovmf_hash", l.Firmware.Hash[:]}, {"kernel_hash", hashes.Kernel[:]}, {"initrd_hash", hashes.Initrd[:]}} {
		if err := readBytes(f.to, document[f.name]); err != nil {
			return err
		}
	}
	commandLine, _ := document["cmdline"].(string)
	hashes.CommandLine = snp.HashCommandLine(strings.TrimSpace(commandLine))
	l.Hashes = &hashes
	l.Firmware.HashTable, l.Firmware.ResetEIP = number(document["hashes_table_gpa"]), number(document["reset_eip"])
	sections, _ := document["ovmf_sections"].([]any)
	for _, s := range sections {
		section, _ := s.(map[string]any)
		l.Firmware.Sections = append(l.Firmware.Sections, ovmf.SEVSection{
			Address: number(section["gpa"]), Size: number(section["size"]), Type: ovmf.SEVSectionType(number(section["type"])),
		})
	}
	return nil
}

func readBytes(to []byte, v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(to) {
		return errCBOR
	}
	copy(to, b)
	return nil
}

// number is a 32-bit number; anything else is zero, which fits no machine.
func number(v any) uint32 {
	n, _ := v.(uint64)
	if n != uint64(uint32(n)) {
		return 0
	}
	return uint32(n)
}

// Firmware reports whether a TDX machine was started with the image's firmware.
func (i *OSImage) Firmware(m vm.Measurement) bool {
	for _, mrtd := range i.mrtd {
		if mrtd == m.MRTD {
			return true
		}
	}
	return false
}

// Kernel reports whether a TDX machine booted the image's kernel, command line
// and initramfs. The command line names the root file system.
func (i *OSImage) Kernel(m vm.Measurement) bool {
	return i.mrtd != nil && i.rtmr1 == m.RTMR[1] && i.rtmr2 == m.RTMR[2]
}

// Launched reports whether an SEV-SNP machine was launched with the image.
// Number and model of its CPUs are the machine's own words.
func (i *OSImage) Launched(measurement vm.Register) bool {
	if i.launch == nil {
		return false
	}
	digest, err := snp.Predict(*i.launch)
	return err == nil && digest == measurement
}
