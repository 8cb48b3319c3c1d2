package linux

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/lock"
)

func TestRecipe(t *testing.T) {
	r, err := Recipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.SHA256.IsZero() {
		t.Error("SHA256SUMS has no digest of the kernel")
	}
	if _, err := r.Key(); err != nil {
		t.Error(err)
	}
	chain, err := r.Lock.Group(lock.KernelToolchain)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range chain {
		names[p.Name] = true
	}
	for _, name := range []string{"gcc-14", "binutils", "make", "bc", "bison", "flex", "libelf-dev", "zstd", "bash"} {
		if !names[name] {
			t.Errorf("the toolchain lacks %s", name)
		}
	}
	source, err := r.Lock.Group(lock.Source)
	if err != nil || len(source) != 1 || !strings.HasPrefix(source[0].Name, "linux-source-") {
		t.Errorf("the source is %v (%v), want one linux-source package", source, err)
	}
}

func TestParseSpec(t *testing.T) {
	text, err := os.ReadFile("linux.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSpec(text); err != nil {
		t.Error(err)
	}
	if _, err := ParseSpec([]byte("groups: {source: {packages: [linux-source]}}")); err == nil || !strings.Contains(err.Error(), lock.KernelToolchain) {
		t.Errorf("without tools the error is %v", err)
	}
}

// root is a build's root in which make has left these files.
func root(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, sourceDir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// The fragment is held against the configuration and all Kconfig files of the tree.
func TestCheckConfig(t *testing.T) {
	fragment, err := Fragment()
	if err != nil {
		t.Fatal(err)
	}
	var config, kconfig strings.Builder
	for _, o := range fragment {
		config.WriteString(o.String() + "\n")
		kconfig.WriteString("config " + strings.TrimPrefix(o.Name, "CONFIG_") + "\n\tbool\n")
	}
	half := strings.Index(kconfig.String(), "config NF_TABLES\n")
	files := map[string]string{
		".config": config.String(), "Kconfig": kconfig.String()[:half], "net/netfilter/Kconfig.more": kconfig.String()[half:],
	}
	if err := checkConfig(root(t, files)); err != nil {
		t.Error(err)
	}
	files[".config"] = strings.Replace(files[".config"], "CONFIG_DM_VERITY=y\n", "", 1)
	if err := checkConfig(root(t, files)); err == nil || !strings.Contains(err.Error(), "CONFIG_DM_VERITY=y: did not take effect") {
		t.Errorf("error is %v, want one that names the option that is missing", err)
	}
	delete(files, "net/netfilter/Kconfig.more")
	if err := checkConfig(root(t, files)); err == nil || !strings.Contains(err.Error(), "CONFIG_NF_TABLES: this source has no such option") {
		t.Errorf("error is %v, want one that names the option that is gone", err)
	}
	delete(files, ".config")
	if err := checkConfig(root(t, files)); err == nil {
		t.Error("no configuration, and no error")
	}
}

func TestFinish(t *testing.T) {
	files := map[string]string{"arch/x86/boot/bzImage": string(bzImage()), "modules.builtin": string(builtin)}
	got, err := finish(root(t, files))
	want, presetErr := Preset(bzImage())
	if err != nil || presetErr != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, %v; want the preset kernel", len(got), err, presetErr)
	}
	files["modules.builtin"] += "kernel/drivers/new.ko\n"
	if _, err := finish(root(t, files)); err == nil || !strings.Contains(err.Error(), "image/linux/modules.builtin") {
		t.Errorf("error is %v, want one that names the committed list", err)
	}
}

func TestNotable(t *testing.T) {
	for line, want := range map[string]string{
		"  CC      kernel/fork.o": "kernel/fork.o", "  AS      arch/x86/entry/entry_64.o": "arch/x86/entry/entry_64.o",
		"  AR      built-in.a": "", "make: Entering directory '/b/linux'": "", "": "",
	} {
		if got, ok := notable(line); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %v; want %q", line, got, ok, want)
		}
	}
}
