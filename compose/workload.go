package compose

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

// MaxFilesSize bounds the files archive, in bytes: what configdisk.MaxArchiveSize leaves.
const MaxFilesSize = configdisk.MaxArchiveSize - configdisk.MaxComposeSize - 128<<10

// FileNames are the names under which a compose file is looked for in a folder.
var FileNames = []string{"docker-compose.yaml", "docker-compose.yml", "compose.yaml", "compose.yml"}

// Workload is one deployment: raw bytes and what they say.
type Workload struct {
	Path     string // of the compose file; for people only
	Compose  []byte // raw
	Files    []byte // raw; nil: there is no files archive
	Settings Settings
	Services []Service // in the order of the file
	Pins     vm.Pins   // of images that the file names without a digest
	Outside  Outside   // what the file takes from beside it
}

// Read reads the workload at path, a compose file or a folder that holds one,
// with files.tar beside it if there is one. Each file is opened and read once.
func Read(path string) (*Workload, error) {
	file, err := locate(path)
	if err != nil {
		return nil, err
	}
	raw, err := readBounded(file, configdisk.MaxComposeSize)
	if err != nil {
		return nil, fmt.Errorf("read compose file: %w", err)
	}
	archive, err := readBounded(filepath.Join(filepath.Dir(file), configdisk.FilesName), MaxFilesSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read files archive: %w", err)
	}
	pins, err := readPins(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	w, err := ParsePinned(raw, archive, pins)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if doc, err := parseDocument(raw); err != nil {
		return nil, err
	} else if err := w.checkBeside(doc, filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	w.Path = file
	if w.Settings.Service == "" {
		w.Settings.Service = nameOfFolder(file)
	}
	return w, nil
}

// Parse makes a Workload of bytes that were read elsewhere. files may be nil.
// Settings.Service is empty where the file names neither a service nor itself.
func Parse(raw, files []byte) (*Workload, error) { return ParsePinned(raw, files, nil) }

// ParsePinned is Parse with the digests of images that the file names without.
func ParsePinned(raw, files []byte, pins vm.Pins) (*Workload, error) {
	doc, err := parseDocument(raw)
	if err != nil {
		return nil, err
	}
	w := &Workload{Compose: raw, Files: files}
	if w.Services, err = readServices(doc); err != nil {
		return nil, err
	}
	for i, s := range w.Services {
		if h, is := pins[s.Image]; is && !s.Pinned {
			if _, err := PinnedImage(s.Image, pins); err != nil {
				return nil, fmt.Errorf("service %s: %w", s.Name, err)
			}
			if w.Pins == nil {
				w.Pins = vm.Pins{}
			}
			w.Services[i].Pinned, w.Pins[s.Image] = true, h
		}
	}
	if w.Settings, err = readSettings(doc, w.Services); err != nil {
		return nil, err
	}
	if w.Outside, err = fromOutside(doc); err != nil {
		return nil, err
	}
	if err := w.Settings.addSecretVariables(w.Outside.Secrets); err != nil {
		return nil, err
	}
	if err := checkTLS(doc, w); err != nil {
		return nil, err
	}
	return w, nil
}

// Starts reports whether s is started: it has no profile, or one of those that
// are chosen.
func (w *Workload) Starts(s Service) bool {
	return len(s.Profiles) == 0 || slices.ContainsFunc(s.Profiles, func(p string) bool { return slices.Contains(w.Settings.Profiles, p) })
}

// Ports returns what the services publish that are started, in the order of the
// file.
func (w *Workload) Ports() []Port {
	var ports []Port
	for _, s := range w.Services {
		if w.Starts(s) {
			ports = append(ports, s.Ports...)
		}
	}
	return ports
}

// Config makes the measured document of one machine that runs w: service is the
// KMS service id <owner>/<name>, instance the vm_uid (vm.NoInstance for the
// template that an owner registers).
func (w *Workload) Config(service string, kms vm.KMS, instance string) (vm.Config, error) {
	s := w.Settings
	cfg := vm.Config{
		Version:     1,
		ComposeHash: vm.HashOf(w.Compose),
		Service:     service,
		KMS:         kms,
		InstanceID:  instance,
		Disk:        vm.Disk{Ephemeral: s.Disk.Ephemeral, Integrity: s.Disk.Integrity},
		TLS:         "self",
		Open:        append([]string{}, s.Open...),
		Tokens:      slices.Clone(s.Tokens),
		Images:      s.Images,
		GPU:         s.GPU,
		Egress:      slices.Clone(s.Egress),
		Env:         slices.Clone(s.Env),
		API:         s.API,
		Pins:        w.Pins,
		Privileged:  slices.Clone(s.Privileged),
		Profiles:    slices.Clone(s.Profiles),
		Time:        slices.Clone(s.Time),
	}
	if s.TLS != nil {
		cfg.TLS, cfg.ACME = "acme", s.TLS
	}
	if w.Files != nil {
		h := vm.HashOf(w.Files)
		cfg.FilesHash = &h
	}
	if err := s.checkManager(service, kms); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func locate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find compose file: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, name := range FileNames {
		file := filepath.Join(path, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("find compose file: %s has none of %s", path, strings.Join(FileNames, ", "))
}

// readBounded reads a whole file, and never more than limit bytes of it. An
// empty file is an error, so that nil means absent.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	case len(b) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return b, nil
}

var (
	serviceName    = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	notServiceName = regexp.MustCompile(`[^a-z0-9]+`)
)

// nameOfFolder makes a service name of the folder that holds file.
func nameOfFolder(file string) string {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "workload"
	}
	name := strings.Trim(notServiceName.ReplaceAllString(strings.ToLower(filepath.Base(dir)), "-"), "-")
	name = strings.TrimRight(name[:min(len(name), 63)], "-")
	if name == "" {
		return "workload"
	}
	return name
}
