package nvidia

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Folders of Debian's packages.
const (
	libraries        = "usr/lib/x86_64-linux-gnu"
	libraryVersions  = libraries + "/nvidia/current" // what Debian's alternatives choose from
	firmwareFolder   = "usr/lib/firmware/nvidia/" + Version
	firmwareFile     = "gsp_ga10x.bin" // the other one is for GPUs without confidential computing
	programsFolder   = "usr/lib/nvidia/current"
	licenceInPackage = "usr/share/doc/libcuda1/copyright"
)

// The modules that build.sh leaves, stripped.
var modules = []string{"nvidia.ko", "nvidia-uvm.ko"}

// pack writes what was built and what Debian's packages have to a tar archive with
// the layout that NVIDIA's installer unpacks to (docs/gpu.md). The archive says
// nothing of who packed it and when.
func pack(root *os.Root) ([]byte, error) {
	files := map[string]string{
		"LICENSE":    path.Join(packagesDir, licenceInPackage),
		"nvidia-smi": path.Join(packagesDir, programsFolder, "nvidia-smi"),
	}
	for _, name := range modules {
		files["kernel-open/"+name] = path.Join(modulesDir, name)
	}
	for _, from := range []struct{ folder, suffix, to string }{
		{libraries, ".so." + Version, ""}, {libraryVersions, ".so." + Version, ""}, {firmwareFolder, firmwareFile, "firmware"},
	} {
		entries, err := fs.ReadDir(root.FS(), path.Join(packagesDir, from.folder))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", from.folder, err)
		}
		found := 0
		for _, e := range entries {
			if e.Type().IsRegular() && strings.HasSuffix(e.Name(), from.suffix) {
				files[path.Join(from.to, e.Name())] = path.Join(packagesDir, from.folder, e.Name())
				found++
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("the packages have no *%s in %s", from.suffix, from.folder)
		}
	}
	return writeArchive(root, files)
}

func writeArchive(root *os.Root, files map[string]string) ([]byte, error) {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		content, err := root.ReadFile(files[name])
		if err != nil {
			return nil, fmt.Errorf("read %s of the driver: %w", name, err)
		}
		h := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack the driver: %w", err)
	}
	return buf.Bytes(), nil
}
