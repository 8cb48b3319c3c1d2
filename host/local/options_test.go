package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// What the owner has to seal is sealed by up when it is told to, and missed when
// it cannot be there.
func TestUpSeals(t *testing.T) {
	state := t.TempDir()
	w, err := compose.Parse([]byte("x-secretvm: { service: guestbook, images: tag }\nservices:\n  web: { image: a, secrets: [key] }\nsecrets: { key: { file: ./key.pem } }\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Path = "compose file.yaml"
	for _, tt := range []struct {
		seal          bool
		sealed, fails string
	}{
		{false, "", "key for example: let up do it (--seal)"},
		{true, w.Path, ""},
		{false, w.Path, ""}, // it stays on the ledger
	} {
		in := installation(t, state, "good")
		in.o.Workload, in.o.Seal = w, tt.seal
		err := in.startWithoutImage(t.Context())
		got, _ := os.ReadFile(filepath.Join(in.kms.owner(), "sealed"))
		if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) || tt.fails == "" && err != nil || string(got) != tt.sealed {
			t.Errorf("%+v: sealed %q, %v", tt, got, err)
		}
		if err := in.Down(t.Context(), &names{}); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Options)
		wantErr string
	}{
		"tdx":        {func(o *Options) { o.TEE = vm.TDX }, "--tee tdx"},
		"snp":        {func(o *Options) { o.TEE = vm.SNP }, "use --tee soft"},
		"nonsense":   {func(o *Options) { o.TEE = "sgx" }, `"sgx" is not known`},
		"too small":  {func(o *Options) { o.Shape.Memory = 1 << 20 }, "--memory"},
		"no service": {func(o *Options) { o.Workload.Settings.Service = "" }, "names no service"},
	} {
		t.Run(name, func(t *testing.T) {
			o := installation(t, t.TempDir(), "good").o
			tc.change(&o)
			if err := o.Check(); err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}

func TestCommandLineQuotes(t *testing.T) {
	got := CommandLine([]string{"a/b", "c d", "e'f", "", "$(x)", "https://127.0.0.1:1", "~"})
	if want := `a/b 'c d' 'e'\''f' '' '$(x)' https://127.0.0.1:1 '~'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
