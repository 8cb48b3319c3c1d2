package nvidia

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

func TestRecipe(t *testing.T) {
	r, err := Recipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.SHA256.IsZero() {
		t.Error("SHA256SUMS has no digest of the archive")
	}
	if _, err := r.Key(); err != nil {
		t.Error(err)
	}
	chain, err := r.Lock.Group(lock.DriverToolchain)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gcc-14", "binutils", "make", "patch", "bash", "linux-headers-7.3.4+deb13-common", "linux-kbuild-7.3.4+deb13"} {
		if !slices.ContainsFunc(chain, func(p lock.Package) bool { return p.Name == name }) {
			t.Errorf("the toolchain lacks %s", name)
		}
	}
	source, err := r.Lock.Group(lock.Source)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range source {
		if !strings.HasPrefix(p.Version, Version+"-") {
			t.Errorf("%s is not of version %s", p.ID(), Version)
		}
	}
}

func TestParseSpec(t *testing.T) {
	text, err := os.ReadFile("driver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSpec(text); err != nil {
		t.Error(err)
	}
	if _, err := ParseSpec([]byte("groups: {source: {packages: [libcuda1]}}")); err == nil || !strings.Contains(err.Error(), lock.DriverToolchain) {
		t.Errorf("without tools the error is %v", err)
	}
}

func TestKernelRelease(t *testing.T) {
	for _, tt := range []struct {
		packages []string
		want     string
	}{
		{[]string{"gcc", "linux-headers-amd64", "linux-headers-7.3.4+deb13-common", "linux-headers-7.3.4+deb13-amd64"}, "7.3.4+deb13-amd64"},
		{[]string{"linux-headers-amd64", "linux-headers-7.3.4+deb13-common"}, ""},
		{[]string{"linux-headers-7.3.4+deb13-amd64", "linux-headers-7.3.5+deb13-amd64"}, ""},
	} {
		var packages []lock.Package
		for _, name := range tt.packages {
			packages = append(packages, lock.Package{Name: name, SHA256: vm.HashOf([]byte(name))})
		}
		l := lock.Lock{Groups: map[string][]lock.Package{lock.DriverToolchain: packages}}
		if got, err := KernelRelease(l); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%v: %q, %v; want %q", tt.packages, got, err, tt.want)
		}
	}
	if _, err := KernelRelease(lock.Lock{}); err == nil {
		t.Error("a lock without tools has a kernel")
	}
}

// built is a build's root with what the packages and the build leave there.
func built(t *testing.T, without string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		modulesDir + "/nvidia.ko", modulesDir + "/nvidia-uvm.ko", modulesDir + "/nvidia-drm.ko",
		packagesDir + "/" + licenceInPackage,
		packagesDir + "/" + libraries + "/libnvidia-pkcs11-openssl3.so." + Version,
		packagesDir + "/" + libraries + "/libssl.so.3",
		packagesDir + "/" + libraryVersions + "/libcuda.so." + Version,
		packagesDir + "/" + firmwareFolder + "/gsp_ga10x.bin",
		packagesDir + "/" + firmwareFolder + "/gsp_tu10x.bin",
		packagesDir + "/" + programsFolder + "/nvidia-smi",
	} {
		if name == without {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(filepath.Base(name)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("libcuda.so."+Version, filepath.Join(dir, packagesDir, libraries, "libcuda.so")); err != nil && without == "" {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// The archive has the layout that the image's builder reads, and says nothing of
// who made it and when.
func TestPack(t *testing.T) {
	archive, err := pack(built(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	again, err := pack(built(t, ""))
	if err != nil || !bytes.Equal(archive, again) {
		t.Errorf("the second archive is another one (%v)", err)
	}
	got := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Mode != 0o644 || h.Uname != "" || h.Uid != 0 {
			t.Errorf("%s is of %v, %v, mode %o", h.Name, h.ModTime, h.Uname, h.Mode)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(content)
	}
	want := map[string]string{
		"LICENSE": "copyright", "nvidia-smi": "nvidia-smi", "firmware/gsp_ga10x.bin": "gsp_ga10x.bin",
		"kernel-open/nvidia.ko": "nvidia.ko", "kernel-open/nvidia-uvm.ko": "nvidia-uvm.ko",
	}
	for _, library := range []string{"libnvidia-pkcs11-openssl3.so." + Version, "libcuda.so." + Version} {
		want[library] = library
	}
	if !maps.Equal(got, want) {
		t.Errorf("the archive has %q, want %q", got, want)
	}
}

func TestPackReportsWhatIsMissing(t *testing.T) {
	for without, wantErr := range map[string]string{
		modulesDir + "/nvidia-uvm.ko":                                              "nvidia-uvm.ko",
		packagesDir + "/" + licenceInPackage:                                       "LICENSE",
		packagesDir + "/" + firmwareFolder + "/gsp_ga10x.bin":                      "firmware",
		packagesDir + "/" + libraryVersions + "/libcuda.so." + Version:             libraryVersions,
		packagesDir + "/" + libraries + "/libnvidia-pkcs11-openssl3.so." + Version: libraries,
	} {
		if _, err := pack(built(t, without)); err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("without %s the error is %v, want one with %q", without, err, wantErr)
		}
	}
}

// Every hunk says in the header which file it is in and why.
func TestPatchSaysWhatItDoes(t *testing.T) {
	files, err := filepath.Glob("*.patch")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v; want one patch", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	header, diff, _ := strings.Cut(string(text), "\n--- a/")
	for line := range strings.Lines("--- a/" + diff) {
		if file, ok := strings.CutPrefix(line, "--- a/"); ok && !strings.Contains(header, strings.TrimSpace(file)) {
			t.Errorf("the header does not say what the patch does to %s", file)
		}
	}
}

func TestNotable(t *testing.T) {
	for line, want := range map[string]string{
		"  CC [M]  nvidia/nv.o": "nvidia/nv.o", "  LD [M]  nvidia.ko": "nvidia.ko", "  MODPOST Module.symvers": "",
		" CONFTEST: vmap": "", "make: Entering directory '/b/modules'": "", "": "",
	} {
		if got, ok := notable(line); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %v; want %q", line, got, ok, want)
		}
	}
}
