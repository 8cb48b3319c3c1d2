package measure

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// TestEveryVector is the list of all public values that this predictor gives
// exactly, with how many there are. The packages below test more closely.
func TestEveryVector(t *testing.T) {
	vectors.Folder(t) // without them, whole: parts of the list skip within themselves
	total := 0
	for _, c := range []struct {
		name  string
		want  int
		check func(*testing.T) int
	}{
		{"TD HOB digests", 15, hobVectors},
		{"ACPI files of 20 machines", 20, oasisACPIVectors},
		{"command lines", 3, commandLineVectors},
		{"replays of registers", 3, oasisReplayVectors},
		{"registers in quotes of real TDX machines", 6, hardwareVectors},
		{"events of a real log", 20, trusteeVectors},
		{"RTMR0 of another predictor", 3, fortanixVectors},
		{"launch digests of SEV, SEV-ES, SEV-SNP and SVSM", 26, snpVectors},
		{"report of a real SEV-SNP machine of dstack", 1, snpDstackVector},
		{"report of a real SEV-SNP machine of SecretVM, v0.0.25", 1, snpSecretVMVector},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.check(t); got != c.want {
				t.Errorf("%d values were checked, want %d", got, c.want)
			}
		})
		total += c.want
	}
	t.Logf("%d values in all", total)
}

func hobVectors(t *testing.T) (checked int) {
	var v struct {
		TDHOB []struct {
			MemoryMiB uint64      `json:"memory_mib"`
			Digest    vm.Register `json:"td_hob_sha384"`
		} `json:"td_hob"`
	}
	vectorJSON(t, "oasis-cli/expected.json", &v)
	image, err := ovmf.Parse(ovmftest.Image(ovmftest.Sections()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range v.TDHOB {
		hob, err := tdx.HOB(image, want.MemoryMiB<<20)
		if err != nil || sha512.Sum384(hob) != want.Digest {
			t.Errorf("%d MiB: digest is %x, want %s (%v)", want.MemoryMiB, sha512.Sum384(hob), want.Digest, err)
		}
		checked++
	}
	return checked
}

func commandLineVectors(t *testing.T) (checked int) {
	var v struct {
		Cmdline []struct {
			Text   string      `json:"cmdline"`
			Digest vm.Register `json:"sha384_utf16le_nul"`
		}
	}
	vectorJSON(t, "oasis-cli/expected.json", &v)
	for _, want := range v.Cmdline {
		b, err := linuxboot.LoadOptions(want.Text, false, linuxboot.Suffix)
		if err != nil || sha512.Sum384(b) != want.Digest {
			t.Errorf("%q: digest is %x, want %s (%v)", want.Text, sha512.Sum384(b), want.Digest, err)
		}
		checked++
	}
	return checked
}

// snpVectors are the calls of virtee/sev-snp-measure's own tests. The wanted
// result of one is a refusal.
func snpVectors(t *testing.T) (checked int) {
	var rows []struct {
		Name     string
		Args     []string
		Kwargs   map[string]string
		Consts   map[string]string
		Expected string
	}
	vectorJSON(t, "sev-snp-measure/expected.json", &rows)
	for _, r := range rows {
		arg := func(i int) string {
			if i >= len(r.Args) || r.Args[i] == "None" {
				return ""
			}
			return strings.Trim(r.Args[i], "'")
		}
		number := func(i int) (n uint64) {
			if err := json.Unmarshal([]byte(arg(i)), &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		file := func(i int) []byte { return vector(t, "sev-snp-measure/"+filepath.Base(arg(i))) }
		launch := snp.Launch{CPUs: int(number(1)), Features: number(7)}
		if arg(4) != "" { // a kernel, which like the initrd is always empty
			h := snp.HashFiles(nil, nil, arg(6))
			launch.Hashes = &h
		}
		var err error
		if arg(2) != "" {
			if launch.CPU, err = snp.Signature("EPYC-v4"); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case strings.HasSuffix(r.Kwargs["vmm_type"], "ec2"):
			launch.VMM = snp.EC2
		case strings.HasSuffix(r.Kwargs["vmm_type"], "gce"):
			launch.VMM = snp.GCE
		}
		var got interface{ String() string }
		switch arg(0) {
		case "SevMode.SEV":
			got, err = snp.PredictSEV(file(3), launch.Hashes)
		case "SevMode.SEV_ES":
			got, err = snp.PredictSEVES(file(3), launch)
		case "SevMode.SEV_SNP_SVSM":
			got, err = snp.PredictSVSM(file(3), file(11), uint32(number(12)), launch)
		default:
			if launch.Firmware, err = snp.ParseFirmware(file(3)); err != nil {
				t.Fatal(err)
			}
			if known := r.Consts["ovmf_hash"]; known != "" {
				if launch.Firmware.Hash, err = vm.ParseRegister(known); err != nil {
					t.Fatal(err)
				}
			}
			got, err = snp.Predict(launch)
		}
		if refused := strings.HasPrefix(r.Expected, "Kernel specified"); refused && err == nil || !refused && (err != nil || got.String() != r.Expected) {
			t.Errorf("%s: %v, %v, want %s", r.Name, got, err, r.Expected)
		}
		checked++
	}
	return checked
}

// registered is how registries write down an SNP machine.
type registered struct {
	Sections []struct {
		GPA         uint32 `json:"gpa"`
		Size        uint32 `json:"size"`
		SectionType uint32 `json:"section_type"`
	} `json:"ovmf_sections"`
	OVMFHash  vm.Register `json:"ovmf_hash"`
	Kernel    vm.Hash     `json:"kernel_hash"`
	Initrd    vm.Hash     `json:"initrd_hash"`
	HashTable uint32      `json:"sev_hashes_table_gpa"`
	ResetEIP  uint32      `json:"sev_es_reset_eip"`
	CPU       string      `json:"vcpu_type"`
}

// inReport predicts the machine's launch digest, which must be in a report.
func (r registered) inReport(t *testing.T, cpus int, commandLine string, report []byte) int {
	t.Helper()
	f := snp.Firmware{Hash: r.OVMFHash, HashTable: r.HashTable, ResetEIP: r.ResetEIP}
	for _, s := range r.Sections {
		f.Sections = append(f.Sections, ovmf.SEVSection{Address: s.GPA, Size: s.Size, Type: ovmf.SEVSectionType(s.SectionType)})
	}
	cpu, err := snp.Signature(r.CPU)
	if err != nil {
		t.Fatal(err)
	}
	got, err := snp.Predict(snp.Launch{Firmware: f, CPUs: cpus, CPU: cpu, Hashes: &snp.Hashes{
		Kernel: r.Kernel, Initrd: r.Initrd, CommandLine: snp.HashCommandLine(commandLine),
	}})
	if err != nil || !bytes.Contains(report, got[:]) {
		t.Errorf("digest %s is not in the report (%v)", got, err)
	}
	return 1
}

func snpDstackVector(t *testing.T) int {
	var inputs struct {
		registered
		CommandLine string `json:"base_cmdline"`
		VCPUs       int    `json:"vcpus"`
	}
	vectorJSON(t, "dstack/sev_snp_measurement_inputs.extracted.json", &inputs)
	return inputs.inReport(t, inputs.VCPUs, inputs.CommandLine, vector(t, "dstack/sev_snp_attestation.bin"))
}

func snpSecretVMVector(t *testing.T) int {
	var file struct {
		SEV struct {
			Row         registered `json:"registry_row"`
			VCPUs       int        `json:"vcpus"`
			CommandLine string     `json:"cmdline"`
		} `json:"sev_measurement"`
	}
	if err := json.Unmarshal(vectors.Read(t, "vectors.json"), &file); err != nil {
		t.Fatal(err)
	}
	quote := vectors.Read(t, "secretvm-verify/test-data/amd_cpu_docker_check_quote.txt")
	report, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(quote)))
	if err != nil {
		t.Fatal(err)
	}
	return file.SEV.Row.inReport(t, file.SEV.VCPUs, file.SEV.CommandLine, report)
}
