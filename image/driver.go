package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/nvidia"
	"github.com/secretvm/secretvm/vm"
)

// GPU is the name of what images for GPUs have beside Base.
const GPU = "gpu"

// DriverSpec says what an image takes of NVIDIA's driver, which comes as an archive
// (docs/gpu.md) whose digest is locked.
type DriverSpec struct {
	Version   string   `yaml:"version"`
	SHA256    vm.Hash  `yaml:"sha256"`    // of the archive; none: that which package nvidia makes
	Needs     []string `yaml:"needs"`     // modules of the image's kernel that the driver looks for by name
	Modules   []string `yaml:"modules"`   // of the driver
	Libraries []string `yaml:"libraries"` // without .so.VERSION; the first two must be there
}

// Where the guest expects what is NVIDIA's.
const (
	gpuModulesFile  = guestFolder + "/gpu-modules.list"
	libraryFolder   = "usr/lib/x86_64-linux-gnu"
	driverInstaller = "NVIDIA-Linux-x86_64-"
	smiProgram      = "nvidia-smi" // given to containers
	maxDriverFile   = 512 << 20    // bytes
)

// GPUSource returns the specification and the lock of the image for GPUs that
// this program was built with: Base, and what GPU adds to it.
func GPUSource() (Source, error) {
	base, err := BaseSource()
	if err != nil {
		return Source{}, err
	}
	text, err := specFiles.ReadFile("specs/" + GPU + ".yaml")
	if err != nil {
		return Source{}, fmt.Errorf("read image specification: %w", err)
	}
	return base.withDriver(text)
}

func (s Source) withDriver(text []byte) (Source, error) {
	spec, err := ParseSpec(text)
	if err != nil {
		return s, err
	}
	d := spec.Driver
	if d == nil || d.Version == "" || len(d.Modules) == 0 || len(d.Libraries) < 2 {
		return s, fmt.Errorf("image specification %s: the driver's version, modules or libraries are missing", spec.Name)
	}
	if d.SHA256.IsZero() {
		r, err := nvidia.Recipe()
		if err != nil {
			return s, err
		}
		d.SHA256 = r.SHA256
	}
	s, err = s.with(Source{Spec: spec, SpecBytes: text})
	s.Spec.Driver = d
	return s, err
}

// checkDriver refuses an image for GPUs without the locked driver, before
// anything is built, and an image without GPUs with one.
func (o Options) checkDriver() error {
	d := o.Source.Spec.Driver
	switch {
	case d == nil && o.Driver == nil:
		return nil
	case d == nil:
		return fmt.Errorf("image %s has no place for NVIDIA's driver: build --spec %s", o.Source.Spec.Name, GPU)
	case o.Driver == nil:
		return fmt.Errorf("image %s needs NVIDIA's driver %s: build it (secretvm image driver build), or give an archive with --nvidia-driver FILE (docs/gpu.md says what is in it)",
			o.Source.Spec.Name, d.Version)
	case o.Kernel != nil:
		return fmt.Errorf("image %s needs a kernel that loads modules: --kernel generic", o.Source.Spec.Name)
	case vm.HashOf(o.Driver) != d.SHA256:
		return fmt.Errorf("NVIDIA's driver has SHA-256 %s, image %s has %s: name the other one with --nvidia-driver-sha256 (sha256sum FILE), and the image measures something else",
			vm.HashOf(o.Driver), o.Source.Spec.Name, d.SHA256)
	}
	return nil
}

// driver is what an archive holds, by base name.
type driver struct{ modules, firmware, libraries, programs map[string][]byte }

// readDriver reads an archive with the layout that NVIDIA's installer unpacks to
// (NVIDIA-Linux-x86_64-VERSION.run --extract-only): libraries and programs at the
// top, firmware/*.bin, and kernel-open/ with the modules that were built there. It
// is a tar file, or one compressed by gzip, xz or zstd.
func readDriver(archive []byte, spec DriverSpec) (driver, error) {
	d := driver{map[string][]byte{}, map[string][]byte{}, map[string][]byte{}, map[string][]byte{}}
	r, err := deb.Decompress("driver.tar"+compression(archive), bytes.NewReader(archive))
	if err != nil {
		return d, err
	}
	defer r.Close()
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return d, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean(h.Name)
		if top, rest, below := strings.Cut(name, "/"); below && strings.HasPrefix(top, driverInstaller) {
			name = rest
		}
		to := d.place(name, spec)
		if to == nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(t, maxDriverFile+1))
		if err != nil || len(content) > maxDriverFile {
			return d, errors.Join(err, fmt.Errorf("%s has more than %d bytes", name, maxDriverFile))
		}
		to[path.Base(name)] = content
	}
}

// place says where a file of an archive belongs; nil: nowhere.
func (d driver) place(name string, spec DriverSpec) map[string][]byte {
	base, folder := path.Base(name), path.Dir(name)
	module, isModule := strings.CutSuffix(base, ".ko")
	library, isLibrary := strings.CutSuffix(base, ".so."+spec.Version)
	switch {
	case isModule && folder == "kernel-open" && slices.Contains(spec.Modules, module):
		return d.modules
	case folder == "firmware" && path.Ext(base) == ".bin":
		return d.firmware
	case isLibrary && folder == "." && slices.Contains(spec.Libraries, library):
		return d.libraries
	case base == smiProgram && folder == ".":
		return d.programs
	}
	return nil
}

// compression is the file name suffix of what b was compressed with, by its
// first bytes.
func compression(b []byte) string {
	for suffix, magic := range map[string]string{".gz": "\x1f\x8b", ".xz": "\xfd7zXZ\x00", ".zst": "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return suffix
		}
	}
	return ""
}

// addDriver puts NVIDIA's driver into the root file system, and says which
// modules are loaded for it. before are those that the guest has loaded by then.
func (b *build) addDriver(before []kernel.Module) error {
	spec := b.Source.Spec.Driver
	if spec == nil {
		return nil
	}
	d, err := readDriver(b.Driver, *spec)
	if err != nil {
		return fmt.Errorf("read NVIDIA's driver: %w", err)
	}
	if err := d.complete(*spec); err != nil {
		return fmt.Errorf("read NVIDIA's driver: %w", err)
	}
	for _, to := range []struct {
		folder string
		mode   int64
		files  map[string][]byte
	}{
		{"usr/lib/firmware/nvidia/" + spec.Version, 0o644, d.firmware},
		{libraryFolder, 0o644, d.libraries},
		{"usr/bin", 0o755, d.programs},
	} {
		for name, content := range to.files {
			b.root.File(path.Join(to.folder, name), to.mode, content)
		}
	}
	b.root.Link(libraryFolder+"/libnvidia-ml.so.1", "libnvidia-ml.so."+spec.Version)
	for name, content := range d.modules {
		b.modules.Add("usr/lib/modules/nvidia/"+name, content)
	}
	modules, err := b.modules.Resolve(slices.Concat(spec.Needs, spec.Modules), before)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, m := range modules {
		if m.Version != before[0].Version {
			return fmt.Errorf("the driver's module %s is built for kernel %s, the image has %s", m.Name, m.Version, before[0].Version)
		}
		b.root.File(m.Path, 0o644, m.Content)
		fmt.Fprintf(&list, "/%s\n", m.Path)
	}
	b.root.File(gpuModulesFile, 0o644, []byte(list.String()))
	return nil
}

// complete reports what an archive lacks.
func (d driver) complete(spec DriverSpec) error {
	for _, name := range spec.Modules {
		module, there := d.modules[name+".ko"]
		switch {
		case !there:
			return fmt.Errorf("it has no kernel-open/%s.ko: build the modules there first (make -C kernel-open modules, and strip them)", name)
		case !bytes.Contains(module, []byte("\x00version="+spec.Version+"\x00")):
			return fmt.Errorf("kernel-open/%s.ko is of another version than %s", name, spec.Version)
		}
	}
	for _, name := range spec.Libraries[:2] {
		if file := name + ".so." + spec.Version; d.libraries[file] == nil {
			return fmt.Errorf("it has no %s at its top", file)
		}
	}
	if d.programs[smiProgram] == nil {
		return fmt.Errorf("it has no %s at its top", smiProgram)
	}
	if len(d.firmware) == 0 {
		return errors.New("it has no firmware/*.bin: the open modules start a processor of the GPU with it")
	}
	return nil
}
