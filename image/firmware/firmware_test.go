package firmware

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

func TestFor(t *testing.T) {
	for _, c := range []struct {
		tee     vm.TEE
		file    string
		wantErr string
	}{
		{vm.TDX, "secretvm-tdx.fd", ""},
		{vm.Soft, "secretvm-tdx.fd", ""}, // what is tested is the file that ships
		{vm.SNP, "secretvm-snp.fd", ""},
		{vm.SGX, "", `no firmware for the TEE "sgx"`},
	} {
		p, err := For(c.tee)
		switch {
		case c.wantErr != "":
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%s: error is %v, want one about %q", c.tee, err, c.wantErr)
			}
		case err != nil || p.File != c.file || p.SHA256.IsZero():
			t.Errorf("%s: %+v, %v; want %s with its SHA-256", c.tee, p, err, c.file)
		}
	}
}

func TestLockHasSourceAndToolchain(t *testing.T) {
	l, err := Lock()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := l.Group(lock.Source)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{origTarball, debianTarball} {
		if !slices.ContainsFunc(sources, func(p lock.Package) bool { return p.Name == name }) {
			t.Errorf("the source lacks %s", name)
		}
	}
	chain, err := l.Group(lock.FirmwareToolchain)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range chain {
		names[p.Name] = true
	}
	for _, name := range []string{"gcc-14", "binutils", "nasm", "acpica-tools", "python3.13", "make", "patch", "bash"} {
		if !names[name] {
			t.Errorf("the toolchain lacks %s", name)
		}
	}
}

func TestPlatformsHaveKeysOfTheirOwn(t *testing.T) {
	keys := map[vm.Hash]bool{}
	for _, tee := range []vm.TEE{vm.TDX, vm.SNP} {
		p, err := For(tee)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Recipe()
		if err != nil {
			t.Fatal(err)
		}
		key, err := r.Key()
		if err != nil || keys[key] {
			t.Errorf("%s has the key %s of the other one (%v)", p.File, key, err)
		}
		keys[key] = true
	}
}

var comments = regexp.MustCompile(`(?m)^\s*#.*$`)

// What must not come back: each was taken out for a reason that docs/firmware.md names.
func TestDescriptionsAreTrimmed(t *testing.T) {
	for _, name := range []string{"Tdx", "Snp"} {
		for _, ext := range []string{".dsc", ".fdf"} {
			text, err := inputs.ReadFile("platform/" + name + ext)
			if err != nil {
				t.Fatal(err)
			}
			text = comments.ReplaceAll(text, nil)
			for _, module := range []string{
				"UiApp.inf", "Shell.inf", "X86QemuLoadImageLib", "Grub.inf", "SecretDxe", "Fat.inf", "VirtioBlk", "VirtioRng",
				"SmbiosDxe", "UsbBusDxe", "NvmExpressDxe", "QemuVideoDxe", "S3SaveState", "QemuFwCfgS3LibFwCfg", "EbcDxe",
			} {
				if bytes.Contains(text, []byte(module)) {
					t.Errorf("%s has %s", name+ext, module)
				}
			}
			if !bytes.Contains(text, []byte("QemuKernelLoaderFsDxe.inf")) {
				t.Errorf("%s lacks the kernel loader", name+ext)
			}
		}
	}
	for name, verifier := range map[string]string{"Tdx": "BlobVerifierLibNull.inf", "Snp": "BlobVerifierLibSevHashes.inf"} {
		text, err := inputs.ReadFile("platform/" + name + ".dsc")
		if err != nil || !bytes.Contains(text, []byte(verifier)) {
			t.Errorf("%s.dsc does not have %s (%v)", name, verifier, err)
		}
		if !bytes.Contains(text, []byte("GenericQemuLoadImageLib.inf")) {
			t.Errorf("%s.dsc does not load kernels with GenericQemuLoadImageLib", name)
		}
	}
}

func TestProfileGoesByTheBytes(t *testing.T) {
	own, err := For(vm.TDX)
	if err != nil {
		t.Fatal(err)
	}
	if got := Profile(own.SHA256); len(got.BootOptions) != 0 || got.Name != measure.Trimmed202502().Name {
		t.Errorf("our firmware has the profile %q with %d boot options, want none", got.Name, len(got.BootOptions))
	}
	if got := Profile(vm.HashOf(nil)); got.Name != measure.EDK2Stable202502().Name {
		t.Errorf("other firmware has the profile %q", got.Name)
	}
}

func TestParseSpec(t *testing.T) {
	text, err := os.ReadFile("firmware.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSpec(text); err != nil {
		t.Error(err)
	}
	if _, err := ParseSpec([]byte("groups: {source: {sources: [edk2]}}")); err == nil || !strings.Contains(err.Error(), lock.FirmwareToolchain) {
		t.Errorf("without tools the error is %v", err)
	}
}
