package configdisk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on the whole config archive, padding included, and on the compose file
// in it, in bytes.
const (
	MaxArchiveSize = 16 << 20
	MaxComposeSize = 1 << 20
)

// Names of the entries of an archive, in the order in which they must appear.
const (
	ConfigName  = "config.json"
	ComposeName = "docker-compose.yaml"
	FilesName   = "files.tar" // optional
	HintsName   = "hints.json"
)

// Archive is what the host hands to a machine on its config disk. Config,
// Compose and Files count only as far as their digests are measured; Hints is
// never trusted.
type Archive struct {
	Config  []byte // canonical vm.Config
	Compose []byte // raw compose file
	Files   []byte // raw files archive; nil: there is none
	Hints   Hints
}

// ReadArchive reads r to its end into memory, once. It accepts exactly what
// Write writes, followed by any number of zero bytes within MaxArchiveSize.
func ReadArchive(r io.Reader) (Archive, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxArchiveSize+1))
	if err != nil {
		return Archive{}, fmt.Errorf("read config archive: %w", err)
	}
	if len(raw) > MaxArchiveSize {
		return Archive{}, fmt.Errorf("read config archive: more than %d bytes", MaxArchiveSize)
	}
	a, err := parseArchive(raw)
	if err != nil {
		return Archive{}, fmt.Errorf("read config archive: %w", err)
	}
	return a, nil
}

func parseArchive(raw []byte) (Archive, error) {
	var a Archive
	entry := &ustarReader{rest: raw}
	var err error
	if a.Config, err = entry.next(ConfigName, vm.MaxConfigSize); err != nil {
		return a, err
	}
	if a.Compose, err = entry.next(ComposeName, MaxComposeSize); err != nil {
		return a, err
	}
	if entry.at(FilesName) {
		if a.Files, err = entry.next(FilesName, MaxArchiveSize); err != nil {
			return a, err
		}
	}
	hints, err := entry.next(HintsName, maxHintsSize)
	if err != nil {
		return a, err
	}
	if a.Hints, err = parseHints(hints); err != nil {
		return a, err
	}
	return a, entry.end()
}

// Open parses the config and holds the other bytes against the digests in it.
func (a Archive) Open() (vm.Config, error) {
	cfg, err := vm.ParseConfig(a.Config)
	if err != nil {
		return cfg, err
	}
	return cfg, a.Check(cfg)
}

// Check holds the bytes of the workload against the digests in a config. It is the
// one comparison that ties a compose file to a machine's identity. It refuses a
// files archive that the config does not name: bytes that nobody measured must not
// reach the workload.
func (a Archive) Check(cfg vm.Config) error {
	if found := vm.HashOf(a.Compose); found != cfg.ComposeHash {
		return vm.Refuse(vm.CodeCompose, "docker-compose.yaml is not the one of the config").
			On("SHA-256", found.String(), cfg.ComposeHash.String())
	}
	switch want := cfg.FilesHash; {
	case want == nil && a.Files != nil:
		return vm.Refuse(vm.CodeCompose, "there is a files archive that the config does not name")
	case want != nil && a.Files == nil:
		return vm.Refuse(vm.CodeCompose, "the files archive %s of the config is missing", want)
	case want != nil && vm.HashOf(a.Files) != *want:
		return vm.Refuse(vm.CodeCompose, "the files archive is not the one of the config").
			On("SHA-256", vm.HashOf(a.Files).String(), want.String())
	}
	return nil
}

// OpenFolder reads the entries of an archive from the files of a folder, and opens
// it. Of the hints, which are a document of their own there, fields that nobody
// knows are left out.
func OpenFolder(dir string) (a Archive, cfg vm.Config, err error) {
	for name, into := range map[string]*[]byte{ConfigName: &a.Config, ComposeName: &a.Compose, FilesName: &a.Files} {
		*into, err = os.ReadFile(filepath.Join(dir, name))
		if err != nil && (name != FilesName || !errors.Is(err, fs.ErrNotExist)) {
			return a, cfg, err
		}
	}
	hints, err := os.ReadFile(filepath.Join(dir, HintsName))
	if err != nil {
		return a, cfg, err
	}
	if err := json.Unmarshal(hints, &a.Hints); err != nil {
		return a, cfg, fmt.Errorf("decode %s: %w", HintsName, err)
	}
	cfg, err = a.Open()
	return a, cfg, err
}

func checkEntry(name string, size, limit int) error {
	switch {
	case size == 0:
		return fmt.Errorf("%s is empty", name)
	case size > limit:
		return fmt.Errorf("%s has %d bytes, want at most %d", name, size, limit)
	}
	return nil
}

var errTrailing = errors.New("there are bytes after the last entry")
