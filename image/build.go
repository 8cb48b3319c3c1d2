package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/tools"
	"github.com/secretvm/secretvm/image/tree"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// Names of an image's files. An image with our own kernel has linux.File instead
// of KernelName: its manifest says which one it is.
const (
	FirmwareName = "OVMF.fd"
	KernelName   = "vmlinuz"
	RootfsName   = "rootfs.img"
)

// Result is an image that was built, or found in the cache.
type Result struct {
	Dir      string      `json:"dir"`
	Cached   bool        `json:"cached"`
	Key      vm.Hash     `json:"key"` // digest of everything that the image was made from
	Manifest vm.Manifest `json:"manifest"`
}

// build is the state that the steps hand on.
type build struct {
	Options
	tools     *tools.Set
	guestInit []byte
	guestd    []byte
	programs  map[string][]byte // by their path in the root file system
	pins      *enginePins       // what the engine's programs are made from; nil: there are none
	engine    []vm.PackageFile  // the modules that they consist of
	key       vm.Hash
	dir       string // where files are written: a temporary folder beside the final one
	final     string
	cached    bool
	firmware  []byte
	kernel    []byte
	modules   *kernel.Set
	root      tree.Tree
	initramfs []byte
	manifest  vm.Manifest
}

// Build makes the image of o, or finds it in the cache.
func Build(ctx context.Context, o Options) (Result, error) {
	if err := o.validate(); err != nil {
		return Result{}, err
	}
	b := &build{Options: o}
	defer b.cleanUp()
	err := step.Run(ctx, o.Report,
		step.Step{Name: "programs", Run: b.compile},     // guest-init and guestd, from this source tree
		step.Step{Name: "cache", Run: b.lookUp},         // the same inputs were built before: nothing else is done
		step.Step{Name: "engine", Run: b.compileEngine}, // dockerd and what it starts, from pinned modules
		step.Step{Name: "packages", Run: b.fetch},       // from the mirrors, checked against the lock
		step.Step{Name: "tools", Run: b.openTools},      // mkfs.erofs, unpacked
		step.Step{Name: "unpack", Run: b.unpack},        // guest, kernel and firmware packages, in memory
		step.Step{Name: "rootfs", Run: b.makeRootfs},    // erofs
		step.Step{Name: "verity", Run: b.addVerity},     // hash tree behind it, root hash to the command line
		step.Step{Name: "initramfs", Run: b.makeInitramfs},
		step.Step{Name: "manifest", Run: b.writeManifest}, // with the predicted registers, then everything into place
	)
	if err != nil {
		return Result{}, fmt.Errorf("build image %s: %w", o.Source.Spec.Name, err)
	}
	return Result{Dir: b.final, Cached: b.cached, Key: b.key, Manifest: b.manifest}, nil
}

// compile builds the programs of the guest, whose bytes are part of the key.
func (b *build) compile(ctx context.Context) (remark string, err error) {
	if b.guestInit, err = buildGuest(ctx, b.Tree, "./cmd/guest-init"); err != nil {
		return "", err
	}
	if b.guestd, err = buildGuest(ctx, b.Tree, "./cmd/guestd"); err != nil {
		return "", err
	}
	remark = fmt.Sprintf("guest-init %.1f MB, guestd %.1f MB", megabytes(len(b.guestInit)), megabytes(len(b.guestd)))
	b.programs = map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(b.Source.Spec.Rootfs.Programs)) {
		if b.programs[name], err = buildGuest(ctx, b.Tree, b.Source.Spec.Rootfs.Programs[name]); err != nil {
			return "", err
		}
		remark += fmt.Sprintf(", %s %.1f MB", path.Base(name), megabytes(len(b.programs[name])))
	}
	return remark, nil
}

// lookUp decides where the image goes and whether it is there already.
func (b *build) lookUp(context.Context) (string, error) {
	var err error
	if len(b.Source.Spec.Rootfs.Engine) > 0 {
		if b.pins, err = readEnginePins(b.Tree); err != nil {
			return "", err
		}
	}
	if b.key, err = b.inputs(); err != nil {
		return "", err
	}
	cache := filepath.Join(b.CacheDir, "images", b.Source.Spec.Name+"-"+b.key.String()[:16])
	b.final = cache
	if b.Fresh {
		b.final = b.Output
	} else if m, err := Verify(cache); err == nil {
		b.cached, b.manifest, b.dir = true, m, cache
		return "nothing has changed", nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		// Damaged: whatever it was, it is made again.
		if err := os.RemoveAll(cache); err != nil {
			return "", fmt.Errorf("remove damaged image: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(b.final), 0o755); err != nil {
		return "", fmt.Errorf("make image folder: %w", err)
	}
	if b.dir, err = os.MkdirTemp(filepath.Dir(b.final), ".building-*"); err != nil {
		return "", fmt.Errorf("make image folder: %w", err)
	}
	return "not built yet", os.Chmod(b.dir, 0o755)
}

// fetch makes sure that all packages are here.
func (b *build) fetch(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	packages, err := b.packages()
	if err != nil {
		return "", err
	}
	n, err := b.Pool.Fetch(ctx, packages)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d, downloaded %d MB", len(packages), n>>20), nil
}

// openTools unpacks what runs on the host.
func (b *build) openTools(ctx context.Context) (remark string, err error) {
	if b.cached {
		return "not needed", nil
	}
	b.tools, err = tools.Open(ctx, b.Source.Lock, b.Pool, b.CacheDir)
	return "", err
}

// makeInitramfs puts guest-init and its modules together.
func (b *build) makeInitramfs(context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	archive, err := b.initramfsArchive()
	if err != nil {
		return "", err
	}
	if b.initramfs, err = initramfs.Compress(archive); err != nil {
		return "", err
	}
	remark := fmt.Sprintf("%.1f MB, %.1f MB compressed", megabytes(len(archive)), megabytes(len(b.initramfs)))
	if b.Kernel != nil {
		// Its size is in our kernel's header.
		b.initramfs, err = linux.Pad(b.initramfs)
	}
	return remark, err
}

// cleanUp removes what an interrupted build left.
func (b *build) cleanUp() {
	if b.dir != "" && !b.cached {
		_ = os.RemoveAll(b.dir) // renamed away after success; else best effort
	}
}

func megabytes(n int) float64 { return float64(n) / (1 << 20) }
