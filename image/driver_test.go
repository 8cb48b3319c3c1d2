package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/nvidia"
	"github.com/secretvm/secretvm/image/tree"
	"github.com/secretvm/secretvm/vm"
)

const (
	driverVersion = "550.163.01"
	kernelVersion = "7.3.4+deb13-amd64"
)

// standInModule is an ELF file with nothing but a .modinfo section.
func standInModule(fields ...string) []byte {
	info := []byte("license=GPL\x00" + strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	le := binary.LittleEndian
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	b = le.AppendUint16(le.AppendUint16(b, 1), 62)
	b = le.AppendUint32(b, 1)
	b = append(b, make([]byte, 16)...)
	b = le.AppendUint64(b, uint64(64+len(info)+len(names)))
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{64, 0, 0, 64, 3, 2} {
		b = le.AppendUint16(b, n)
	}
	b = slices.Concat(b, info, names, make([]byte, 64))
	for _, s := range []struct {
		name, kind uint32
		at, size   int
	}{{1, 1, 64, len(info)}, {10, 3, 64 + len(info), len(names)}} {
		b = le.AppendUint32(le.AppendUint32(b, s.name), s.kind)
		for _, n := range []int{0, 0, s.at, s.size, 0, 1, 0} {
			b = le.AppendUint64(b, uint64(n))
		}
	}
	return b
}

// standInDriver is an archive as NVIDIA's installer unpacks, with modules built.
func standInDriver(t *testing.T, change func(map[string][]byte)) []byte {
	t.Helper()
	module := func(name, depends string) []byte {
		return standInModule("version="+driverVersion, "name="+name, "depends="+depends, "vermagic="+kernelVersion+" SMP")
	}
	files := map[string][]byte{
		"LICENSE":                               []byte("read me"),
		"libcuda.so." + driverVersion:           []byte("cuda"),
		"libnvidia-ml.so." + driverVersion:      []byte("ml"),
		"libGLX_nvidia.so." + driverVersion:     []byte("for screens"),
		"32/libcuda.so." + driverVersion:        []byte("32 bits"),
		"nvidia-smi":                            []byte("smi"),
		"nvidia-installer":                      []byte("installer"),
		"firmware/gsp_ga10x.bin":                []byte("gsp"),
		"kernel/nvidia.ko":                      []byte("the other modules"),
		"kernel-open/nvidia.ko":                 module("nvidia", "video"),
		"kernel-open/nvidia-uvm.ko":             module("nvidia_uvm", "nvidia"),
		"kernel-open/nvidia-drm.ko":             module("nvidia_drm", "nvidia"),
		"kernel-open/nvidia/nv-kernel.o_binary": []byte("core"),
	}
	if change != nil {
		change(files)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		err := w.WriteHeader(&tar.Header{Name: driverInstaller + driverVersion + "/" + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// driverBuild is a build that has come to the driver.
func driverBuild(t *testing.T, archive []byte) (*build, []kernel.Module) {
	t.Helper()
	source, err := GPUSource()
	if err != nil {
		t.Fatal(err)
	}
	source.Spec.Driver.SHA256 = vm.HashOf(archive)
	b := &build{Options: Options{Source: source, Driver: archive}, root: tree.Tree{}, modules: kernel.NewSet()}
	for _, name := range append([]string{"video", "virtio_blk"}, source.Spec.Driver.Needs...) {
		b.modules.Add("usr/lib/modules/"+name+".ko", standInModule("name="+name, "vermagic="+kernelVersion+" SMP"))
	}
	early, err := b.modules.Resolve([]string{"virtio_blk"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, early
}

// What a machine for computing needs of the driver is in the image, and no more.
func TestDriverIsTaken(t *testing.T) {
	b, early := driverBuild(t, standInDriver(t, nil))
	if err := b.checkDriver(); err != nil {
		t.Fatal(err)
	}
	if err := b.addDriver(early); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"usr/lib/x86_64-linux-gnu/libcuda.so." + driverVersion:        "cuda",
		"usr/lib/x86_64-linux-gnu/libnvidia-ml.so." + driverVersion:   "ml",
		"usr/lib/firmware/nvidia/" + driverVersion + "/gsp_ga10x.bin": "gsp",
		"usr/bin/nvidia-smi": "smi",
		"usr/lib/secretvm/gpu-modules.list": "/usr/lib/modules/ecdh_generic.ko\n/usr/lib/modules/ecdsa_generic.ko\n/usr/lib/modules/gcm.ko\n/usr/lib/modules/hmac.ko\n" +
			"/usr/lib/modules/video.ko\n/usr/lib/modules/nvidia/nvidia.ko\n/usr/lib/modules/nvidia/nvidia-uvm.ko\n",
	} {
		if got := string(b.root[name].Content); got != want {
			t.Errorf("%s is %.200q, want %q", name, got, want)
		}
	}
	if n := len(b.root); n != 13 {
		t.Errorf("%d files in the image, want 13", n)
	}
	if b.root["usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"].Target != "libnvidia-ml.so."+driverVersion {
		t.Error("nothing names the library as guest-gpu does")
	}
}

func TestDriversThatAreNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(map[string][]byte)
		wantErr string
	}{
		{"modules not built", func(f map[string][]byte) { delete(f, "kernel-open/nvidia-uvm.ko") }, "no kernel-open/nvidia-uvm.ko"},
		{"for another kernel", func(f map[string][]byte) {
			f["kernel-open/nvidia.ko"] = standInModule("version="+driverVersion, "name=nvidia", "depends=", "vermagic=6.12.1 SMP")
		}, "built for kernel 6.12.1"},
		{"of another version", func(f map[string][]byte) {
			f["kernel-open/nvidia.ko"] = standInModule("version=580.95.05", "name=nvidia", "depends=", "vermagic="+kernelVersion+" SMP")
		}, "another version than " + driverVersion},
		{"libraries of another version", func(f map[string][]byte) {
			delete(f, "libcuda.so."+driverVersion)
			f["libcuda.so.580.95.05"] = nil
		}, "no libcuda.so." + driverVersion},
		{"without its program", func(f map[string][]byte) { delete(f, "nvidia-smi") }, "no nvidia-smi"},
		{"without firmware", func(f map[string][]byte) { delete(f, "firmware/gsp_ga10x.bin") }, "no firmware"},
		{"no module", func(f map[string][]byte) {
			f["kernel-open/nvidia.ko"] = []byte("\x00version=" + driverVersion + "\x00")
		}, "kernel module nvidia"},
	} {
		b, early := driverBuild(t, standInDriver(t, tt.change))
		if err := b.addDriver(early); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
	for _, archive := range [][]byte{[]byte("\x1f\x8bnot gzip"), []byte(strings.Repeat("not tar ", 200))} {
		b, early := driverBuild(t, archive)
		if err := b.addDriver(early); err == nil {
			t.Errorf("%.20q is a driver", archive)
		}
	}
}

// Without the locked driver nothing is built, and the error says what to do.
func TestDriverIsLocked(t *testing.T) {
	b, _ := driverBuild(t, standInDriver(t, nil))
	for _, tt := range []struct {
		name    string
		change  func(*Options)
		wantErr string
	}{
		{"none given", func(o *Options) { o.Driver = nil }, "secretvm image driver build"},
		{"another", func(o *Options) { o.Driver = []byte("x") }, "--nvidia-driver-sha256"},
		{"a kernel without modules", func(o *Options) { o.Kernel = []byte("bzImage") }, "--kernel generic"},
		{"an image without GPUs", func(o *Options) { o.Source.Spec.Driver = nil }, "--spec gpu"},
	} {
		o := b.Options
		spec := *o.Source.Spec.Driver
		o.Source.Spec.Driver = &spec
		tt.change(&o)
		if err := o.checkDriver(); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
	base, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	if err := (Options{Source: base}).checkDriver(); err != nil {
		t.Errorf("the base image without a driver: %v", err)
	}
}

// The image takes the driver that is built here, which is of the version that it
// names and for the kernel that it has.
func TestDriverFitsTheImage(t *testing.T) {
	source, err := GPUSource()
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := nvidia.Recipe()
	if err != nil {
		t.Fatal(err)
	}
	if d := source.Spec.Driver; d.Version != nvidia.Version || d.SHA256 != recipe.SHA256 || d.SHA256.IsZero() {
		t.Errorf("the image has driver %s with SHA-256 %s, want %s with %s", d.Version, d.SHA256, nvidia.Version, recipe.SHA256)
	}
	release, err := nvidia.KernelRelease(recipe.Lock)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range source.Lock.Groups[lock.Kernel] {
		if p.Name == "linux-image-"+release {
			headers, err := recipe.Lock.Group(lock.DriverToolchain)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range headers {
				if h.Name == "linux-headers-"+release && h.Version != p.Version {
					t.Errorf("the driver is built with headers of %s, the kernel is %s", h.Version, p.Version)
				}
			}
			return
		}
	}
	t.Errorf("the driver is built for kernel %s, which the image has not: renew image/nvidia/driver.lock.json", release)
}

func FuzzReadDriver(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Add(standInModule("name=x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = readDriver(b, DriverSpec{Version: driverVersion, Modules: []string{"nvidia"}, Libraries: []string{"libcuda"}})
	})
}
