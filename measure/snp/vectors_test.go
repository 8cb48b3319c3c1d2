package snp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// vectors is the folder of public vectors beside the repository.
const vectors = "../../../shared/vectors"

func vector(t *testing.T, elem ...string) []byte {
	t.Helper()
	file := filepath.Join(append([]string{vectors}, elem...)...)
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Skipf("no vectors here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectorJSON(t *testing.T, to any, elem ...string) {
	t.Helper()
	if err := json.Unmarshal(vector(t, elem...), to); err != nil {
		t.Fatal(err)
	}
}

func register(t *testing.T, s string) vm.Register {
	t.Helper()
	r, err := vm.ParseRegister(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func digestOf(t *testing.T, s string) vm.Hash {
	t.Helper()
	h, err := vm.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// row is one call of virtee/sev-snp-measure's test suite.
type row struct {
	Name     string
	Args     []string
	Kwargs   map[string]string
	Consts   map[string]string
	Expected string
}

func (r row) file(i int) string { return filepath.Base(strings.Trim(r.Args[i], "'")) }

func (r row) given(i int) bool { return len(r.Args) > i && r.Args[i] != "None" }

func (r row) number(t *testing.T, i int) int {
	t.Helper()
	n, err := strconv.Atoi(r.Args[i])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSEVSNPMeasure is the whole table of virtee/sev-snp-measure.
func TestSEVSNPMeasure(t *testing.T) {
	var rows []row
	vectorJSON(t, &rows, "measure", "sev-snp-measure", "expected.json")
	if len(rows) != 26 {
		t.Fatalf("table has %d rows, want 26", len(rows))
	}
	for _, r := range rows {
		t.Run(r.Name, func(t *testing.T) {
			got, err := r.predict(t)
			if strings.HasPrefix(r.Expected, "Kernel specified") {
				if err == nil || !strings.Contains(err.Error(), "takes no hashes") {
					t.Fatalf("got %v, %v, want a firmware that takes no hashes", got, err)
				}
				return
			}
			if err != nil || got != r.Expected {
				t.Fatalf("got %s, %v, want %s", got, err, r.Expected)
			}
		})
	}
}

func (r row) predict(t *testing.T) (string, error) {
	image := vector(t, "measure", "sev-snp-measure", r.file(3))
	var hashes *Hashes
	if r.given(4) { // kernel and initrd are always /dev/null
		commandLine := ""
		if r.given(6) {
			commandLine = strings.Trim(r.Args[6], "'")
		}
		h := HashFiles(nil, nil, commandLine)
		hashes = &h
	}
	launch := Launch{Hashes: hashes, CPUs: r.number(t, 1), Features: uint64(r.number(t, 7))}
	if r.given(2) {
		var err error
		if launch.CPU, err = Signature("EPYC-v4"); err != nil {
			t.Fatal(err)
		}
	}
	switch vmm := r.Kwargs["vmm_type"]; vmm {
	case "vmm_types.VMMType.ec2":
		launch.VMM = EC2
	case "vmm_types.VMMType.gce":
		launch.VMM = GCE
	case "":
	default:
		t.Fatalf("vector names VMM %s", vmm)
	}
	switch r.Args[0] {
	case "SevMode.SEV":
		got, err := PredictSEV(image, hashes)
		return got.String(), err
	case "SevMode.SEV_ES":
		got, err := PredictSEVES(image, launch)
		return got.String(), err
	case "SevMode.SEV_SNP_SVSM":
		got, err := PredictSVSM(image, vector(t, "measure", "sev-snp-measure", r.file(11)), uint32(r.number(t, 12)), launch)
		return got.String(), err
	}
	var err error
	if launch.Firmware, err = ParseFirmware(image); err != nil {
		return "", err
	}
	if known := r.Consts["ovmf_hash"]; known != "" {
		launch.Firmware.Hash = register(t, known)
	}
	got, err := Predict(launch)
	return got.String(), err
}

// TestEC2Metadata is virtee/sev-snp-measure-go: firmware known by its digest
// and sections only.
func TestEC2Metadata(t *testing.T) {
	for name, want := range map[string]string{
		"ovmf_img_1.json": "4c6e33087d08fa770259484dddbef367086a15c3e2cf10038dc97229d39c942671c2e22b300178f8de594a3f2fa59303",
		"ovmf_img_2.json": "c2c84b9364fc9f0f54b04534768c860c6e0e386ad98b96e8b98eca46ac8971d05c531ba48373f054c880cfd1f4a0a84e",
	} {
		t.Run(name, func(t *testing.T) {
			var image struct {
				MetadataItems []struct {
					GPA, Size      string
					SectionTypeInt uint32
				}
				ResetEIP string
				OVMFHash string
			}
			vectorJSON(t, &image, "measure", "sev-snp-measure-go", name)
			number := func(s string) uint32 {
				n, err := strconv.ParseUint(s, 0, 32)
				if err != nil {
					t.Fatal(err)
				}
				return uint32(n)
			}
			f := Firmware{Hash: register(t, image.OVMFHash), ResetEIP: number(image.ResetEIP)}
			for _, item := range image.MetadataItems {
				f.Sections = append(f.Sections, ovmf.SEVSection{Address: number(item.GPA), Size: number(item.Size), Type: ovmf.SEVSectionType(item.SectionTypeInt)})
			}
			got, err := Predict(Launch{Firmware: f, CPUs: 2, VMM: EC2Old})
			if err != nil || got.String() != want {
				t.Fatalf("got %s, %v, want %s", got, err, want)
			}
		})
	}
}

// recorded is how registries write down a firmware: dstack's measurement
// inputs, and SecretVM's sev.json.
type recorded struct {
	Sections []struct {
		GPA         uint32 `json:"gpa"`
		Size        uint32 `json:"size"`
		SectionType uint32 `json:"section_type"`
	} `json:"ovmf_sections"`
	OVMFHash  string `json:"ovmf_hash"`
	Kernel    string `json:"kernel_hash"`
	Initrd    string `json:"initrd_hash"`
	HashTable uint32 `json:"sev_hashes_table_gpa"`
	ResetEIP  uint32 `json:"sev_es_reset_eip"`
	CPU       string `json:"vcpu_type"`
}

func (r recorded) launch(t *testing.T, cpus int, commandLine string) Launch {
	t.Helper()
	f := Firmware{Hash: register(t, r.OVMFHash), HashTable: r.HashTable, ResetEIP: r.ResetEIP}
	for _, s := range r.Sections {
		f.Sections = append(f.Sections, ovmf.SEVSection{Address: s.GPA, Size: s.Size, Type: ovmf.SEVSectionType(s.SectionType)})
	}
	cpu, err := Signature(r.CPU)
	if err != nil {
		t.Fatal(err)
	}
	return Launch{Firmware: f, CPUs: cpus, CPU: cpu, Hashes: &Hashes{
		Kernel: digestOf(t, r.Kernel), Initrd: digestOf(t, r.Initrd), CommandLine: HashCommandLine(commandLine),
	}}
}

// TestSecretVM predicts the digest of a SecretVM machine from its registry row
// and its compose file: it is the MEASUREMENT of a genuine report.
func TestSecretVM(t *testing.T) {
	var file struct {
		SEV struct {
			Row         recorded `json:"registry_row"`
			VCPUs       int      `json:"vcpus"`
			CommandLine string   `json:"cmdline"`
			Measurement string   `json:"measurement"`
		} `json:"sev_measurement"`
	}
	vectorJSON(t, &file, "vectors.json")
	got, err := Predict(file.SEV.Row.launch(t, file.SEV.VCPUs, file.SEV.CommandLine))
	if err != nil || got.String() != file.SEV.Measurement {
		t.Fatalf("got %s, %v, want %s", got, err, file.SEV.Measurement)
	}
	report, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(vector(t, "secretvm-verify", "test-data", "amd_cpu_docker_check_quote.txt"))))
	if err != nil || !bytes.Contains(report, got[:]) {
		t.Fatalf("digest %s is not in the report, %v", got, err)
	}
	other, err := Predict(file.SEV.Row.launch(t, file.SEV.VCPUs, file.SEV.CommandLine+" "))
	if err != nil || other == got {
		t.Fatalf("one more byte on the command line gives the same digest, %v", err)
	}
}

// TestDstack predicts the digest in a report of dstack's from real hardware.
func TestDstack(t *testing.T) {
	var inputs struct {
		recorded
		CommandLine string `json:"base_cmdline"`
		VCPUs       int    `json:"vcpus"`
	}
	vectorJSON(t, &inputs, "measure", "dstack", "sev_snp_measurement_inputs.extracted.json")
	got, err := Predict(inputs.launch(t, inputs.VCPUs, inputs.CommandLine))
	if err != nil {
		t.Fatal(err)
	}
	report := vector(t, "measure", "dstack", "sev_snp_attestation.bin")
	if !bytes.Contains(report, got[:]) {
		t.Fatalf("digest %s is not in the report", got)
	}
}
