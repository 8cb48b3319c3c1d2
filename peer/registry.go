package peer

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on a registry, so that a search costs little.
const (
	MaxRegistrySize = 4 << 20
	maxTDXRows      = 8000
	maxSNPRows      = 500
)

// Image is what a registry calls one image.
type Image struct {
	Template string `json:"template"` // small, medium, large … : the machine's size
	Kind     string `json:"kind"`     // prod, dev, gpu_prod …
	Version  string `json:"version"`  // v0.0.25 …
}

// String is "small prod v0.0.25".
func (i Image) String() string {
	return strings.TrimSpace(strings.Join([]string{i.Template, i.Kind, i.Version}, " "))
}

// Development reports whether whoever made the image can log in to its
// machines: only what is called prod is for production.
func (i Image) Development() bool { return i.Kind != "prod" && !strings.HasSuffix(i.Kind, "_prod") }

// TDXImage is a row of tdx.csv.
type TDXImage struct {
	Image
	MRTD, RTMR0, RTMR1, RTMR2 vm.Register
	Rootfs                    vm.Hash // SHA-256 of the root file system's image
}

// SNPImage is a row of sev.json. Its template comes from the number of CPUs.
type SNPImage struct {
	Image
	Firmware     snp.Firmware
	Kernel       vm.Hash
	Initrd       vm.Hash
	Rootfs       vm.Hash
	CPU          uint32 // signature of the CPU model
	ExtraOptions string // in the middle of the command line
}

// Registry lists images that the caller knows.
type Registry struct {
	TDX    []TDXImage
	SNP    []SNPImage
	Source [][]byte // the files, as they were read
}

// ParseRegistry reads registries of existing SecretVM images: tdx.csv and
// sev.json, in any number. Rows that say the same again count once; one image
// may have several rows, for hosts and sizes differ. A row that cannot be read
// refuses its file (vm.CodeMalformed): a registry with holes would turn misses
// into silence.
func ParseRegistry(files ...[]byte) (*Registry, error) {
	r := &Registry{}
	for _, file := range files {
		if len(file) > MaxRegistrySize {
			return nil, vm.Refuse(vm.CodeTooLarge, "registry has %d bytes, want at most %d", len(file), MaxRegistrySize)
		}
		read := r.readTDX
		if text := bytes.TrimSpace(file); len(text) > 0 && text[0] == '[' {
			read = r.readSNP
		}
		if err := read(file); err != nil {
			var refusal *vm.Refusal
			if errors.As(err, &refusal) {
				return nil, err
			}
			return nil, vm.Refuse(vm.CodeMalformed, "registry of images: %.300v", err).Try("expected a tdx.csv or a sev.json of SecretVM")
		}
		r.Source = append(r.Source, file)
	}
	return r, nil
}

// readTDX reads tdx.csv: a head line names the columns.
func (r *Registry) readTDX(file []byte) error {
	lines := csv.NewReader(bytes.NewReader(file))
	lines.ReuseRecord = true
	head, err := lines.Read()
	if err != nil {
		return err
	}
	column := map[string]int{}
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, twice := column[name]; twice {
			return errors.New("column " + name + " comes twice")
		}
		column[name] = i
	}
	for _, name := range []string{"template_name", "vm_type", "artifacts_ver", "mrtd", "rtmr0", "rtmr1", "rtmr2", "rootfs_data"} {
		if _, ok := column[name]; !ok {
			return errors.New("column " + name + " is missing")
		}
	}
	seen := map[TDXImage]bool{}
	for {
		row, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		field := func(name string) string { return strings.TrimSpace(row[column[name]]) }
		image := TDXImage{Image: Image{Template: field("template_name"), Kind: field("vm_type"), Version: field("artifacts_ver")}}
		line, _ := lines.FieldPos(0)
		err = errors.Join(
			readHex(image.MRTD[:], field("mrtd")), readHex(image.RTMR0[:], field("rtmr0")), readHex(image.RTMR1[:], field("rtmr1")),
			readHex(image.RTMR2[:], field("rtmr2")), readHex(image.Rootfs[:], field("rootfs_data")), image.check(),
		)
		switch {
		case err != nil:
			return vm.Refuse(vm.CodeMalformed, "registry of images, line %d: %.200v", line, err)
		case len(r.TDX) == maxTDXRows:
			return vm.Refuse(vm.CodeTooLarge, "registry of images has more than %d rows", maxTDXRows)
		case !seen[image]:
			seen[image] = true
			r.TDX = append(r.TDX, image)
		}
	}
}

// snpRow is one object of sev.json.
type snpRow struct {
	Kind      string `json:"vm_type"`
	Version   string `json:"artifacts_ver"`
	Kernel    string `json:"kernel_hash"`
	Initrd    string `json:"initrd_hash"`
	Rootfs    string `json:"rootfs_hash"`
	CPU       string `json:"vcpu_type"`
	Firmware  string `json:"ovmf_hash"`
	HashTable uint32 `json:"sev_hashes_table_gpa"`
	ResetEIP  uint32 `json:"sev_es_reset_eip"`
	Sections  []struct {
		Address uint32 `json:"gpa"`
		Size    uint32 `json:"size"`
		Type    uint32 `json:"section_type"`
	} `json:"ovmf_sections"`
	Extra string `json:"cmdline_extra"`
}

func (r *Registry) readSNP(file []byte) error {
	var rows []snpRow
	dec := json.NewDecoder(bytes.NewReader(file))
	if err := dec.Decode(&rows); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("trailing bytes")
	}
	for i, row := range rows {
		image, err := row.image()
		switch {
		case err != nil:
			return vm.Refuse(vm.CodeMalformed, "registry of images, entry %d: %.200v", i, err)
		case len(r.SNP) == maxSNPRows:
			return vm.Refuse(vm.CodeTooLarge, "registry of images has more than %d entries", maxSNPRows)
		case !slices.ContainsFunc(r.SNP, image.equals):
			r.SNP = append(r.SNP, image)
		}
	}
	return nil
}

func (row snpRow) image() (SNPImage, error) {
	image := SNPImage{
		Image:    Image{Kind: row.Kind, Version: row.Version},
		Firmware: snp.Firmware{HashTable: row.HashTable, ResetEIP: row.ResetEIP}, ExtraOptions: row.Extra,
	}
	for _, s := range row.Sections {
		image.Firmware.Sections = append(image.Firmware.Sections, ovmf.SEVSection{Address: s.Address, Size: s.Size, Type: ovmf.SEVSectionType(s.Type)})
	}
	err := errors.Join(
		readHex(image.Kernel[:], row.Kernel), readHex(image.Initrd[:], row.Initrd), readHex(image.Rootfs[:], row.Rootfs),
		readHex(image.Firmware.Hash[:], row.Firmware), image.check(),
	)
	if err != nil {
		return image, err
	}
	if image.CPU, err = snp.Signature(row.CPU); err != nil {
		return image, err
	}
	// What cannot be predicted from must not look like a miss later.
	_, err = image.predict("", 1)
	return image, err
}

func (i SNPImage) equals(other SNPImage) bool {
	return i.Image == other.Image && i.Kernel == other.Kernel && i.Initrd == other.Initrd && i.Rootfs == other.Rootfs && i.CPU == other.CPU &&
		i.ExtraOptions == other.ExtraOptions && i.Firmware.Hash == other.Firmware.Hash && i.Firmware.HashTable == other.Firmware.HashTable &&
		i.Firmware.ResetEIP == other.Firmware.ResetEIP && slices.Equal(i.Firmware.Sections, other.Firmware.Sections)
}
