package firmware

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/step"
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
		case err != nil || p.File() != c.file || p.SHA256.IsZero():
			t.Errorf("%s: %+v, %v; want %s with its SHA-256", c.tee, p, err, c.file)
		}
	}
}

func TestPrebuiltTakesOnlyTheSameBytes(t *testing.T) {
	content := []byte("firmware")
	p := Platform{TEE: vm.SNP, name: "Snp", SHA256: vm.HashOf(content)}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if got, err := Prebuilt(write("right", content), p); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%q, %v; want the file", got, err)
	}
	huge := write("huge", nil)
	if err := os.Truncate(huge, maxImage+1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, wantErr string }{
		{"altered", write("altered", []byte("Firmware")), "this release's is " + p.SHA256.String()},
		{"says how to build it", write("altered", []byte("Firmware")), "secretvm image firmware build --tee snp"},
		{"absent", filepath.Join(dir, "absent"), "no such file"},
		{"folder", dir, "is no file"},
		{"huge", huge, "of at most 16 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Prebuilt(c.file, p); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
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
		if _, err := tarball(sources, name); err != nil {
			t.Error(err)
		}
	}
	if _, err := tarball(sources, "edk2.more"); err == nil {
		t.Error("a tarball that is not there is found")
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

// Whatever the image depends on is in its key.
func TestKeyCoversInputs(t *testing.T) {
	l, err := Lock()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[vm.Hash]string{}
	add := func(what string, tee vm.TEE, l lock.Lock) {
		p, err := For(tee)
		if err != nil {
			t.Fatal(err)
		}
		k, err := p.key(l)
		if err != nil {
			t.Fatal(err)
		}
		if same, ok := keys[k]; ok {
			t.Errorf("%s has the key of %s", what, same)
		}
		keys[k] = what
	}
	altered := func(group string) lock.Lock {
		out := lock.Lock{Groups: map[string][]lock.Package{}}
		for name, packages := range l.Groups {
			out.Groups[name] = append([]lock.Package{}, packages...)
		}
		out.Groups[group][0].SHA256[0] ^= 1
		return out
	}
	add("tdx", vm.TDX, l)
	add("snp", vm.SNP, l)
	add("another source", vm.TDX, altered(lock.Source))
	add("another toolchain", vm.TDX, altered(lock.FirmwareToolchain))
	if _, err := (Platform{}).key(lock.Lock{}); err == nil || !strings.Contains(err.Error(), "source") {
		t.Errorf("without the groups the error is %v", err)
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

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"unknown field", "suite: []", "parse firmware specification"},
		{"nothing to build", "groups: {source: {sources: []}}", "is empty"},
		{"two documents", "groups: {source: {sources: [a]}, firmware-toolchain: {packages: [b]}}\n---\na: b", "more than one document"},
	} {
		if _, err := ParseSpec([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want one about %q", c.name, err, c.wantErr)
		}
	}
	text, err := os.ReadFile("firmware.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSpec(text); err != nil {
		t.Error(err)
	}
}

// silent is a step.Reporter that nobody watches.
type silent struct{}

func (silent) Started(string)       {}
func (silent) Finished(step.Result) {}

// What the cache holds counts only if it has the committed SHA-256.
func TestCachedImageIsChecked(t *testing.T) {
	content := []byte("firmware")
	p := Platform{TEE: vm.TDX, name: "Tdx", SHA256: vm.HashOf(content)}
	dir := t.TempDir()
	l, err := Lock()
	if err != nil {
		t.Fatal(err)
	}
	key, err := p.key(l)
	if err != nil {
		t.Fatal(err)
	}
	file := CacheFile(dir, p, key)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Build(t.Context(), Options{Platform: p, CacheDir: dir, Report: silent{}})
	if err != nil || !r.Cached || !bytes.Equal(r.Image, content) {
		t.Errorf("%+v, %v; want the cached image", r, err)
	}
	if err := os.WriteFile(file, []byte("Firmware"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := Cached(dir, p); ok {
		t.Error("an altered image is taken from the cache")
	}
}

func TestNamespaceErrorSaysWhatToDo(t *testing.T) {
	err := namespaceError(os.ErrPermission)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), Variable) || !strings.Contains(err.Error(), "--firmware FILE") {
		t.Errorf("error is %v, want the cause and the way out", err)
	}
}
