package policy

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

var (
	register = strings.Repeat("ab", 48)
	digest   = strings.Repeat("cd", 32)
)

// everything names each field once.
var everything = `version: 1
image:
  registers:
    - { mrtd: ` + register + `, rtmr0: ` + register + `, rtmr1: ` + register + `, rtmr2: ` + register + `, rtmr3: ` + register + ` }
  root_hash: ` + digest + `
  launch: [` + register + `]
workload:
  compose_sha256: ` + digest + `
  files_sha256: ` + digest + `
  service: svm1owner/guestbook
  kms: ` + strings.Repeat("8A", 96) + `
  host_data: ` + digest + `
machine:
  tee: [tdx, snp]
  hardware: [00ff]
  td_attributes: 0x40000000
  xfam: 8
  sept_ve: true
tcb:
  accept: [UpToDate, SWHardeningNeeded]
  advisories: [INTEL-SA-00837]
  grace_days: 14
  min_evaluation: 18
snp:
  products: [Genoa]
  minimum_tcb: [{ product: Genoa, bootloader: 9, tee: 1, snp: 23, microcode: 72 }]
  vmpl: 1
  guest_svn: 2
  abi: 1.55
  firmware: 1.55.39
  allow: [CXL_ALLOW]
  require: [SINGLE_SOCKET]
  require_platform: [ALIAS_CHECK_COMPLETE]
  no_smt: true
  id_keys: [` + register + `]
  author_keys: [` + register + `]
  providers: [cloud]
  without_crl: true
  masked_chip_id: true
gpu: { required: true, count: 2, switches: 1, architectures: [HOPPER], hardware: [00ff], unmeasured: true, unchecked: true, hold: true, unlinked: true, issuer: me }
freshness: { required: true, max_age: 10m }
collateral: { stale_days: 3, offline: true }
`

func TestApply(t *testing.T) {
	p, err := Parse([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	var w verification.Wanted
	if err := p.Apply(&w, func(string) ([]byte, error) { return nil, errors.New("no file is named") }); err != nil {
		t.Fatal(err)
	}
	switch {
	case len(w.Wishes.Registers) != 1 || w.Wishes.Registers[0].RTMR3.String() != register || len(w.Wishes.Launch) != 1:
		t.Errorf("image is %+v", w.Wishes)
	case w.Wishes.ComposeHash.String() != digest || w.Wishes.FilesHash.String() != digest || w.Wishes.RootHash.String() != digest || w.Wishes.HostData.String() != digest:
		t.Errorf("workload is %+v", w.Wishes)
	case w.Service != "svm1owner/guestbook" || w.GroupKey != strings.Repeat("8a", 96):
		t.Errorf("service %q, kms %q", w.Service, w.GroupKey)
	case !slices.Equal(w.Wishes.TEEs, []vm.TEE{vm.TDX, vm.SNP}) || w.Policy.Attributes != 0x40000000 || w.Policy.XFAM != 8 || !w.Policy.SEPTVE || w.Policy.Hardware[0] != "00ff":
		t.Errorf("machine is %+v, %+v", w.Wishes.TEEs, w.Policy)
	case len(w.Policy.Accept) != 2 || w.Policy.Advisories[0] != "INTEL-SA-00837" || w.Policy.Grace != 14*24*time.Hour || w.Policy.MinEvaluation != 18:
		t.Errorf("tcb is %+v", w.Policy)
	case w.Policy.GPU.GPUs != 2 || w.Policy.GPU.Switches != 1 || w.Policy.GPU.Architectures[0] != "HOPPER" || !w.Policy.GPU.Hold || !w.Policy.GPU.Unlinked || !w.Wishes.Fresh || w.Wishes.MaxAge != 10*time.Minute:
		t.Errorf("gpu is %+v, freshness %+v", w.Policy.GPU, w.Wishes)
	case w.Policy.SNP.VMPL != 1 || w.Policy.SNP.Firmware.Build != 39 || w.Policy.SNP.MinimumTCB["Genoa"].Microcode != 72 || w.Policy.SNP.Allow != snp.PolicyCXL ||
		w.Policy.SNP.Require != snp.PolicySingleSocket || w.Policy.SNP.RequirePlatform != snp.PlatformAliasCheck || !w.Policy.SNP.NoSMT || len(w.Policy.SNP.IDKeys) != 1:
		t.Errorf("snp is %+v", w.Policy.SNP)
	case w.Policy.StaleCollateral != 72*time.Hour || !p.Collateral.Offline:
		t.Errorf("collateral is %v", w.Policy.StaleCollateral)
	}
}

// TestApplyReadsFiles: a machine that is what the files of a policy say.
func TestApplyReadsFiles(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Files = []byte("an archive") })
	manifest, err := m.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"m.json": manifest, "c.yaml": m.Compose, "f.tar": m.Files, "r.pem": m.PKI.RootPEM(), "bad.pem": []byte("x")}
	read := func(path string) ([]byte, error) {
		if b := files[path]; b != nil {
			return b, nil
		}
		return nil, errors.New(path + " does not exist")
	}
	p, err := Parse([]byte("version: 1\nimage: { manifest: m.json }\nworkload: { compose: c.yaml, files: f.tar }\ntrust_roots: [r.pem]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var w verification.Wanted
	if err := p.Apply(&w, read); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.Compose, m.Compose) || !bytes.Equal(w.Files, m.Files) || w.Manifest.Release != "v0.1.0" || len(w.Roots) != 1 {
		t.Errorf("wanted is %+v", w)
	}
	for name, text := range map[string]string{
		"no compose":    "workload: { compose: x }",
		"no manifest":   "image: { manifest: x }",
		"bad manifest":  "image: { manifest: c.yaml }",
		"no root":       "trust_roots: [x]",
		"no root in it": "trust_roots: [bad.pem]",
	} {
		p, err := Parse([]byte("version: 1\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(&w, read); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"nothing", "", "empty"},
		{"comment", "# nothing\n", "empty"},
		{"no version", "image: { manifest: x }", "begin with `version: 1`"},
		{"another version", "version: 2", `version is "2", want 1`},
		{"a list", "[]", "policy wants fields"},
		{"two documents", "version: 1\n---\nversion: 1\n", "second document"},
		{"misspelt", "version: 1\nworkloads: {}", `line 2: policy has no field "workloads": did you mean "workload"?`},
		{"misspelt inside", "version: 1\ntcb: { graze_days: 1 }", `did you mean "grace_days"?`},
		{"far off", "version: 1\nzzzzzzzzzz: 1", "want one of version, image"},
		{"twice", "version: 1\nversion: 1", "second time"},
		{"alias", "version: 1\nimage: &a { manifest: x }\nworkload: *a", "alias or anchor"},
		{"null", "version: 1\nworkload: { compose: }", "wants one value"},
		{"empty list", "version: 1\nmachine: { tee: [] }", "leave the field out"},
		{"no list", "version: 1\nmachine: { tee: tdx }", "wants a list"},
		{"kind", "version: 1\nmachine: { tee: [sev] }", `machine.tee[0] is "sev"`},
		{"status", "version: 1\ntcb: { accept: [Uptodate] }", `did you mean "UpToDate"?`},
		{"revoked", "version: 1\ntcb: { accept: [Revoked] }", `"Revoked"`},
		{"digest in capitals", "version: 1\nworkload: { compose_sha256: " + strings.ToUpper(digest) + " }", "lower-case"},
		{"short register", "version: 1\nimage: { launch: [abcd] }", "want 96"},
		{"register missing", "version: 1\nimage: { registers: [{ mrtd: " + register + " }] }", "lacks rtmr0"},
		{"both", "version: 1\nworkload: { compose: x, compose_sha256: " + digest + " }", "one is enough"},
		{"both files", "version: 1\nworkload: { files: x, files_sha256: " + digest + " }", "one is enough"},
		{"both images", "version: 1\nimage: { manifest: x, registers: [{ mrtd: " + register + ", rtmr0: " + register + ", rtmr1: " + register + ", rtmr2: " + register + " }] }", "names the registers"},
		{"group key", "version: 1\nworkload: { kms: 8a }", "192 hex digits"},
		{"service", "version: 1\nworkload: { service: guestbook }", "owner/name"},
		{"negative", "version: 1\ntcb: { grace_days: -1 }", "not negative"},
		{"long grace", "version: 1\ntcb: { grace_days: 1000 }", "at most 366"},
		{"stale", "version: 1\ncollateral: { stale_days: 1000 }", "at most 366"},
		{"yes", "version: 1\ngpu: { required: yes }", "want true or false"},
		{"many GPUs", "version: 1\ngpu: { count: 17 }", "at most 16"},
		{"hardware", "version: 1\nmachine: { hardware: [xyz] }", "hex digits"},
		{"bits", "version: 1\nmachine: { td_attributes: all }", "64-bit number"},
		{"age", "version: 1\nfreshness: { max_age: 10 }", "such as 10m"},
		{"age below zero", "version: 1\nfreshness: { max_age: -1s }", "such as 10m"},
		{"privilege level", "version: 1\nsnp: { vmpl: 4 }", "0 to 3"},
		{"TCB", "version: 1\nsnp: { minimum_tcb: [{ product: Milan, snp: 256 }] }", "at most 255"},
		{"TCB of nothing", "version: 1\nsnp: { minimum_tcb: [{ snp: 1 }] }", "lacks product"},
		{"firmware version", "version: 1\nsnp: { firmware: 1 }", "such as 1.55"},
		{"debug", "version: 1\nsnp: { allow: [DEBUG] }", "want MIGRATE_MA"},
		{"field of a word", "version: 1\nimage: manifest.json", "image wants fields, some of manifest, registers"},
		{"too large", strings.Repeat("#", MaxSize+1), "at most"},
		{"not YAML", "\t", "policy:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if vm.CodeOf(err) != vm.CodeInvalid || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%v, want %q", err, c.wantErr)
			}
		})
	}
}

// TestDocumentation: schema and table in docs/ are made from the type.
func TestDocumentation(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	const file = "../docs/policy.schema.json"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, schema, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, schema) {
		t.Errorf("%s is not what Schema returns (UPDATE=1 go test ./policy): %v", file, err)
	}
	doc, err := os.ReadFile("../docs/verification.md")
	if err != nil || !strings.Contains(string(doc), Table()) {
		t.Errorf("docs/verification.md lacks the table of fields (%v):\n%s", err, Table())
	}
}

// TestExampleInDocumentation: the example parses.
func TestExampleInDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../docs/verification.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	if _, err := Parse([]byte(example)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("version: 1\nimage: { manifest: x }\ntrust_roots: [r.pem]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if vm.CodeOf(err) != vm.CodeInvalid {
				t.Errorf("code of %v", err)
			}
			return
		}
		var w verification.Wanted
		_ = p.Apply(&w, func(string) ([]byte, error) { return nil, errors.New("no file") })
	})
}
