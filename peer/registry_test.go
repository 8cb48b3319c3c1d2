package peer_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const columns = "template_name,vm_type,artifacts_ver,mrtd,rtmr0,rtmr1,rtmr2,rootfs_data,host_id\n"

func row(template, kind, version string) string {
	r := strings.Repeat("0a", 48)
	return strings.Join([]string{template, kind, version, r, r, r, r, strings.Repeat("0b", 32), ""}, ",") + "\n"
}

func TestParseRegistry(t *testing.T) {
	r := registry(t)
	if len(r.TDX) != 109 || len(r.SNP) != 22 || len(r.Source) != 2 {
		t.Errorf("%d TDX and %d SNP images of %d files, want 109, 22, 2", len(r.TDX), len(r.SNP), len(r.Source))
	}
}

func TestRegistryDuplicates(t *testing.T) {
	file := columns + row("small", "prod", "v1") + row("small", "prod", "v1") + row("small", "dev", "v1") + row("small", "prod", "v2")
	r, err := peer.ParseRegistry([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.TDX) != 3 {
		t.Errorf("%d images, want 3: the repeated row counts once", len(r.TDX))
	}
	// Rows that cannot be told apart are all named.
	if known := r.Known(vm.Measurement{MRTD: r.TDX[0].MRTD, RTMR: [4]vm.Register{r.TDX[0].RTMR0, r.TDX[0].RTMR1, r.TDX[0].RTMR2}}); len(known) != 3 {
		t.Errorf("known as %d images, want all 3", len(known))
	}
}

func TestV1_BadRegistriesAreRefused(t *testing.T) {
	good := row("small", "prod", "v1")
	for _, tt := range []struct {
		name, file, wantErr string
		code                vm.Code
	}{
		{"good", columns + good, "", ""},
		{"other columns too", "extra," + columns + "x," + good, "", ""},
		{"head only", columns, "", ""},
		{"empty", "", "registry", vm.CodeMalformed},
		{"no head", good + good, "comes twice", vm.CodeMalformed},
		{"column missing", strings.Replace(columns, "rtmr2", "rtmr9", 1) + good, "rtmr2 is missing", vm.CodeMalformed},
		{"column twice", "mrtd," + columns + "x," + good, "comes twice", vm.CodeMalformed},
		{"short register", columns + strings.Replace(good, "0a0a", "0a", 1), "line 2", vm.CodeMalformed},
		{"row too short", columns + "a,b\n", "wrong number of fields", vm.CodeMalformed},
		{"no version", columns + row("small", "prod", ""), "without kind or version", vm.CodeMalformed},
		{"escape codes", columns + row("small\x1b[2J", "prod", "v1"), "is no name", vm.CodeMalformed},
		{"too large", strings.Repeat("x", peer.MaxRegistrySize+1), "at most", vm.CodeTooLarge},
		{"too many rows", columns + manyRows(8001), "more than", vm.CodeTooLarge},
		{"JSON that is cut", `[{"vm_type":`, "registry", vm.CodeMalformed},
		{"JSON and more", `[] []`, "trailing", vm.CodeMalformed},
		{"JSON without digests", `[{"vm_type":"prod","artifacts_ver":"v1"}]`, "entry 0", vm.CodeMalformed},
		{"JSON of another shape", `[5]`, "registry", vm.CodeMalformed},
	} {
		_, err := peer.ParseRegistry([]byte(tt.file))
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || vm.CodeOf(err) != tt.code) {
			t.Errorf("%s: ParseRegistry = %v, want %q [%s]", tt.name, err, tt.wantErr, tt.code)
		}
	}
}

func manyRows(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(row("small", "prod", "v"+strings.Repeat("1", i%8)+string(rune('a'+i%26))+strings.Repeat("2", i/26%40)+string(rune('a'+i/1040%26))))
	}
	return b.String()
}

// A miss is a miss: nothing is asked, nothing is guessed.
func TestV1_AnEmptyRegistryKnowsNothing(t *testing.T) {
	r, err := peer.ParseRegistry()
	if err != nil {
		t.Fatal(err)
	}
	m := measurement(t, "secretvm-verify/test-data/tdx_cpu_docker_check_quote.txt")
	if len(r.Known(m)) != 0 || len(r.MatchTDX(m, peer.Workload{})) != 0 || len(r.MatchSNP(vm.Register{}, peer.Workload{})) != 0 {
		t.Error("an empty registry knows a machine")
	}
}

func FuzzParseRegistry(f *testing.F) {
	f.Add([]byte(columns + row("small", "prod", "v1")))
	f.Add([]byte(`[{"vm_type":"prod","artifacts_ver":"v1","vcpu_type":"EPYC","ovmf_sections":[{"gpa":4096,"size":4096,"section_type":1}]}]`))
	if b, ok := vectors.Seed("secretvm-verify/artifacts_registry/sev.json"); ok {
		if end := bytes.Index(b, []byte("\n    },\n")); end > 0 { // one entry: each costs a prediction
			f.Add(append(bytes.Clone(b[:end+6]), ']'))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := peer.ParseRegistry(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		for _, image := range r.TDX {
			if image.Version == "" {
				t.Fatal("an image without version")
			}
		}
	})
}
