//go:build driver

package nvidia_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/nvidia"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/image/tools"
)

// said is what testdata/probe says.
type said struct {
	Modules map[string]struct {
		Error   string
		Symbols int
		Missing []string
	}
	Log []string
}

// driverModules returns the modules of the archive that was built.
func driverModules(t *testing.T, cache string) map[string][]byte {
	t.Helper()
	recipe, err := nvidia.Recipe()
	if err != nil {
		t.Fatal(err)
	}
	archive, ok := recipe.Cached(cache)
	if file := os.Getenv(nvidia.Variable); file != "" {
		if archive, err = recipe.Prebuilt(file); err != nil {
			t.Fatal(err)
		}
	} else if !ok {
		t.Skip("the driver is not in the cache: build it with `secretvm image driver build`")
	}
	out := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Dir(h.Name) == "kernel-open" {
			if out[path.Base(h.Name)], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// kernelOf unpacks the image's kernel and its modules.
func kernelOf(t *testing.T, source image.Source, packages *pool.Pool) (vmlinuz []byte, modules *kernel.Set) {
	t.Helper()
	modules = kernel.NewSet()
	group, err := source.Lock.Group(lock.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packages.Fetch(t.Context(), group); err != nil {
		t.Skipf("the kernel's packages cannot be had: %v", err)
	}
	for _, p := range group {
		r, err := packages.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		err = deb.Walk(r, deb.Decompress, func(e deb.Entry, content io.Reader) error {
			if e.Type != tar.TypeReg {
				return nil
			}
			b, err := io.ReadAll(content)
			if path.Base(e.Path) == image.KernelName || strings.HasPrefix(path.Base(e.Path), "vmlinuz-") {
				vmlinuz = b
			} else {
				modules.Add(e.Path, b)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return vmlinuz, modules
}

// spdmCheck is the module of testdata/spdm.
const spdmCheck = "spdm_check.ko"

// The kernel takes the modules as far as their own code, which looks for a GPU:
// without one it is that, and no symbol, which is missing. And the driver's
// cryptography does what it has to when a GPU proves itself.
func TestModulesFitTheKernel(t *testing.T) {
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	ours := driverModules(t, cache)
	source, err := image.GPUSource()
	if err != nil {
		t.Fatal(err)
	}
	packages, err := image.OpenPool(cache, "/etc/apt", os.Getenv("SECRETVM_MIRRORS"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	vmlinuz, set := kernelOf(t, source, packages)
	for name, content := range ours {
		set.Add("usr/lib/modules/nvidia/"+name, content)
	}
	modules, err := set.Resolve(slices.Concat(source.Spec.Driver.Needs, source.Spec.Driver.Modules), nil)
	if err != nil {
		t.Fatal(err)
	}
	program, err := image.BuildProgram(t.Context(), "../..", "./image/nvidia/testdata/probe")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]initramfs.File{"init": {Mode: 0o755, Content: program}}
	var list strings.Builder
	add := func(name, parameters string, content []byte) {
		files["modules/"+name] = initramfs.File{Mode: 0o644, Content: content}
		fmt.Fprintf(&list, "/modules/%s %s\n", name, parameters)
	}
	check, parameters := nvidia.SPDMCheck(t, cache, packages)
	for _, m := range modules {
		if path.Base(m.Path) == "nvidia.ko" { // what it looks for by name is there now
			add(spdmCheck, parameters, check)
		}
		add(path.Base(m.Path), "", m.Content)
	}
	files["modules.list"] = initramfs.File{Mode: 0o644, Content: []byte(list.String())}
	archive, err := initramfs.Build(files, []string{"dev", "proc", "sys"}, 1)
	if err != nil {
		t.Fatal(err)
	}

	got := boot(t, source, packages, cache, vmlinuz, archive)
	for _, line := range got.Log {
		switch {
		// Once nvidia.ko is out again, its symbols are, and no others.
		case strings.HasPrefix(line, "nvidia_uvm: Unknown symbol nvUvmInterface"):
		case strings.Contains(line, "Unknown symbol"), strings.Contains(line, "BUG"), strings.Contains(line, "Oops"), strings.Contains(line, "WARNING"):
			t.Errorf("the kernel says: %s", line)
		default:
			t.Log(line)
		}
	}
	names := []string{spdmCheck}
	for _, m := range modules {
		names = append(names, path.Base(m.Path))
	}
	for _, name := range names {
		result, ok := got.Modules[name]
		if !ok {
			t.Errorf("nothing is said of %s", name)
			continue
		}
		t.Logf("%s: %d symbols, %q", name, result.Symbols, result.Error)
		if len(result.Missing) > 0 {
			t.Errorf("%s looks for what is not there: %v", name, result.Missing)
		}
		want := ""
		switch name {
		case "nvidia.ko":
			want = "ENODEV"
		case spdmCheck:
			want = "ECANCELED"
		case "nvidia-uvm.ko": // needs the other one, which the kernel has thrown out
			want = "ENOENT"
		}
		if result.Error != want {
			t.Errorf("%s: %q, want %q", name, result.Error, want)
		}
	}
	if n := got.Modules["nvidia.ko"].Symbols; n < 300 {
		t.Errorf("nvidia.ko looks for %d symbols: this shows nothing", n)
	}
	if !slices.ContainsFunc(got.Log, func(line string) bool { return strings.Contains(line, "No NVIDIA GPU found") }) {
		t.Error("the driver did not say that there is no GPU")
	}
}

// boot starts the kernel with these files, until the probe has spoken.
func boot(t *testing.T, source image.Source, packages *pool.Pool, cache string, vmlinuz, archive []byte) (s said) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{"vmlinuz": vmlinuz, "initramfs": archive} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := tools.Open(t.Context(), source.Lock, packages, cache)
	if err != nil {
		t.Skipf("the locked QEMU cannot be had: %v", err)
	}
	firmware, err := filepath.Glob(filepath.Join(cache, "images", "*", image.FirmwareName))
	if err != nil || len(firmware) == 0 {
		t.Skip("no image is in the cache: build one with `secretvm image build`")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := set.Command(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "Nehalem,vendor=AuthenticAMD", "-machine", "q35", "-m", "2G", "-smp", "2",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-bios", firmware[0], "-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initramfs"),
		"-append", source.Spec.CommandLine,
	)
	var messages bytes.Buffer
	c.Stderr = &messages
	console, err := c.Output()
	_, text, ok := bytes.Cut(console, []byte("probe: "))
	if err != nil || !ok {
		t.Fatalf("%v, no word of the probe; console:\n%s\n%s", err, console, messages.Bytes())
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s
}
