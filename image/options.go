package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/nvidia"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/step"
)

// Options says what Build is to make, from what, and where.
type Options struct {
	Source   Source     // specification and lock
	Tree     string     // the source tree that guest-init and guestd are built from
	CacheDir string     // packages, tools and images are kept here
	Output   string     // where the image goes; "" leaves it in the cache
	Firmware []byte     // OVMF image to put in instead of the firmware group's; may be nil
	SNP      []byte     // OVMF image for SEV-SNP machines, put in beside it; may be nil
	Kernel   []byte     // our own kernel, instead of the kernel group's; may be nil
	Driver   []byte     // archive of NVIDIA's driver, where the specification wants one
	Fresh    bool       // build even if the cache has it, and leave the cache's image alone; needs Output
	Pool     *pool.Pool // where packages come from
	Report   step.Reporter
}

func (o Options) validate() error {
	switch {
	case o.CacheDir == "" || o.Pool == nil || o.Report == nil:
		return errors.New("image options: the cache folder, the pool or the reporter is missing")
	case o.Fresh && o.Output == "":
		return errors.New("image options: a fresh build needs an output folder")
	}
	return o.checkDriver()
}

// CacheDir returns the default cache folder: $XDG_CACHE_HOME/secretvm.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return filepath.Join(base, "secretvm"), nil
}

// OpenPool returns the pool below cacheDir, fed by the mirrors of apt's
// configuration below etc ("/etc/apt"), of env and of extra (see
// archive.FindMirrors).
func OpenPool(cacheDir, etc, env string, extra []string, note func(string, ...any)) (*pool.Pool, error) {
	mirrors, err := archive.FindMirrors(extra, env, etc)
	if err != nil {
		return nil, err
	}
	return &pool.Pool{Dir: filepath.Join(cacheDir, "packages"), Mirrors: mirrors, Client: fetch.New(etc), Note: note}, nil
}

// groups returns the lock's groups that are unpacked into the image: what is
// given as a file comes from no package.
func (o Options) groups() []string {
	groups := []string{lock.Guest}
	if o.Kernel == nil {
		groups = append(groups, lock.Kernel)
	}
	if o.Firmware == nil {
		groups = append(groups, lock.Firmware)
	}
	return groups
}

// packages returns what is unpacked into the image, in the order of the lock's groups.
func (o Options) packages() ([]lock.Package, error) { return o.Source.Lock.Group(o.groups()...) }

// hasOwnDriver reports whether the driver is the one that package nvidia makes.
func (o Options) hasOwnDriver() bool {
	r, err := nvidia.Recipe()
	return err == nil && o.Driver != nil && r.Check(o.Driver) == nil
}

// origins returns what the image is made from: packages, and the sources of our
// own kernel and firmware and of the driver.
func (o Options) origins() ([]lock.Package, error) {
	packages, err := o.packages()
	if err != nil {
		return nil, err
	}
	if d := o.Source.Spec.Driver; d != nil {
		packages = append(packages, lock.Package{Name: "nvidia-driver", Version: d.Version, SHA256: d.SHA256})
	}
	for _, own := range []struct {
		there bool
		lock  func() (lock.Lock, error)
	}{{o.Kernel != nil, linux.Lock}, {o.Firmware != nil || o.SNP != nil, firmware.Lock}, {o.hasOwnDriver(), nvidia.Lock}} {
		if !own.there {
			continue
		}
		l, err := own.lock()
		if err != nil {
			return nil, err
		}
		source, err := l.Group(lock.Source)
		if err != nil {
			return nil, err
		}
		packages = append(packages, source...)
	}
	return packages, nil
}
