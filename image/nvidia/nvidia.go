package nvidia

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/image/lock"
)

// Variable names the environment variable that gives a prebuilt archive, for
// machines that cannot build one.
const Variable = "SECRETVM_NVIDIA_DRIVER"

// Version is the driver's: of modules, firmware and libraries alike.
const Version = "550.163.01"

// File is the name that the archive goes by.
const File = "NVIDIA-Linux-x86_64-" + Version + "-secretvm.tar"

// maxArchive bounds an archive, in bytes.
const maxArchive = 512 << 20

// Where the build has what it works on, in its root.
const (
	packagesDir = foundry.Dir + "/packages" // Debian's, all unpacked over each other
	modulesDir  = foundry.Dir + "/modules"  // source of the modules
)

// Paths in Debian's packages.
const (
	sourceInPackage = "usr/src/nvidia-current-open-" + Version
	headersPrefix   = "linux-headers-"
	headersSuffix   = "-amd64"
)

// The patch and the script: with the lock all that make sees.
//
//go:embed *.patch build.sh
var inputs embed.FS

//go:embed SHA256SUMS
var sums string

//go:embed driver.lock.json
var locked []byte

// Lock returns the lock that this program was built with: groups lock.Source and
// lock.DriverToolchain.
func Lock() (lock.Lock, error) { return lock.Parse(locked) }

// ParseSpec reads driver.yaml, which the lock is made from.
func ParseSpec(b []byte) (foundry.Spec, error) {
	return foundry.ParseSpec(b, "driver", lock.Source, lock.DriverToolchain)
}

// KernelRelease returns the kernel that the modules of l are built for, as uname -r
// says it.
func KernelRelease(l lock.Lock) (string, error) {
	group, err := l.Group(lock.DriverToolchain)
	if err != nil {
		return "", err
	}
	var releases []string
	for _, p := range group {
		release, ok := strings.CutPrefix(p.Name, headersPrefix)
		// linux-headers-amd64 has no release in its name, linux-headers-…-common no flavour.
		if ok && strings.HasSuffix(release, headersSuffix) {
			releases = append(releases, release)
		}
	}
	if len(releases) != 1 {
		return "", fmt.Errorf("lock file has headers of %d kernels, want one", len(releases))
	}
	return releases[0], nil
}

// Recipe returns how the archive is made.
func Recipe() (foundry.Recipe, error) {
	r := foundry.Recipe{
		Product: foundry.Product{
			Kind: "driver", File: File, Home: "image/nvidia", MaxSize: maxArchive,
			Command: "secretvm image driver build", Flag: "--nvidia-driver", Variable: Variable,
		},
		Variant: Version, Toolchain: lock.DriverToolchain, Inputs: inputs,
		Links: map[string]string{"sh": "bash", "awk": "gawk"},
		Place: place, Finish: pack, Notable: notable,
	}
	var err error
	if r.Lock, err = Lock(); err != nil {
		return r, err
	}
	release, releaseErr := KernelRelease(r.Lock)
	r.Stages = []foundry.Stage{{Script: []string{"build.sh", release}}}
	var sumErr error
	r.SHA256, sumErr = foundry.Sum(sums, File)
	return r, errors.Join(releaseErr, sumErr)
}

// stack is what /proc/self/maps shows to Debian's objtool, which compiles nothing
// before it has seen where its stack is, to word one of its error messages. There
// is no /proc in the build's root.
const stack = "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]\n"

// place unpacks the packages, and puts the modules' source where it is compiled.
func place(ctx context.Context, sources foundry.Sources, root *os.Root) (string, error) {
	for _, dir := range []string{packagesDir, "proc/self"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("lay out build folder: %w", err)
		}
	}
	if err := root.WriteFile("proc/self/maps", []byte(stack), 0o644); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	below, err := root.OpenRoot(packagesDir)
	if err != nil {
		return "", err
	}
	defer below.Close()
	for _, p := range sources.All() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if !strings.HasPrefix(p.Version, Version+"-") {
			return "", fmt.Errorf("the lock has %s, want version %s of all packages", p.ID(), Version)
		}
		r, err := sources.Open(p)
		if err != nil {
			return "", err
		}
		if err := deb.Unpack(r, below); err != nil {
			return "", fmt.Errorf("unpack %s: %w", p.ID(), err)
		}
	}
	if err := root.Rename(path.Join(packagesDir, sourceInPackage), modulesDir); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	return "driver " + Version, nil
}

// notable finds what make says that it compiles: "  CC [M]  nvidia/nv.o".
func notable(line string) (string, bool) {
	fields := strings.Fields(line)
	if len(fields) != 3 || !strings.HasPrefix(line, "  ") || fields[1] != "[M]" {
		return "", false
	}
	return fields[2], fields[0] == "CC" || fields[0] == "LD"
}
