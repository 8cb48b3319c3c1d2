package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// mounts puts, for every folder of the host that a container mounts, what it is
// in this machine.
func (p Policy) mounts(service string, h host, config fields) error {
	for i, bind := range h.Binds {
		source, rest, found := strings.Cut(bind, ":")
		if !found || !path.IsAbs(source) {
			continue // a volume
		}
		real, err := p.source(service, source)
		if err != nil {
			return err
		}
		h.Binds[i] = real + ":" + rest
	}
	for _, m := range h.Mounts {
		kind, _ := m["Type"].(string)
		source, _ := m["Source"].(string)
		switch kind {
		case "bind":
			real, err := p.source(service, source)
			if err != nil {
				return err
			}
			m["Source"] = real
		case "volume":
			if err := p.options(m); err != nil {
				return err
			}
		case "tmpfs":
		default:
			return fmt.Errorf("it has a mount of type %q", kind)
		}
	}
	var errs []error
	if h.Binds != nil {
		errs = append(errs, config.set("Binds", h.Binds))
	}
	if h.Mounts != nil {
		errs = append(errs, config.set("Mounts", h.Mounts))
	}
	return errors.Join(errs...)
}

// options checks the options of a volume that a mount would make.
func (p Policy) options(mount map[string]any) error {
	volume, _ := mount["VolumeOptions"].(map[string]any)
	driver, _ := volume["DriverConfig"].(map[string]any)
	if len(driver) > 0 {
		return errors.New("it makes a volume by a mount: write it below volumes")
	}
	return nil
}

// source is what a path of a compose file means in this machine: a file that
// came with it, one that says nothing, or a folder on the encrypted disk, which
// is made. Relative paths are here below the project's folder.
func (p Policy) source(service, source string) (string, error) {
	source = path.Clean(source)
	trusted := slices.Contains(p.Privileged, service)
	switch {
	case compose.IsShown(source) || source == p.Sockets[service]:
		return source, nil
	case source == vm.TLSFolder || path.Dir(source) == vm.TLSFolder:
		if trusted || slices.Contains(p.TLS, service) {
			return source, nil
		}
	case path.Dir(source) == p.Secrets:
		if info, err := os.Lstat(source); err != nil || !info.Mode().IsRegular() {
			return "", fmt.Errorf("its owner has sealed no secret %[1]s (try: secretvm service env set SERVICE --secret %[1]s=FILE)", path.Base(source))
		}
		return source, nil
	case source == p.Project:
		return source, nil
	case strings.HasPrefix(source, p.Project+"/"):
		below := strings.TrimPrefix(source, p.Project+"/")
		if _, err := os.Lstat(source); err == nil {
			return source, noLinks(p.Project, below)
		}
		return p.onDisk("project", below)
	case compose.CheckBind(source) == nil:
		return p.onDisk("host", strings.TrimPrefix(source, "/"))
	}
	if trusted {
		return source, nil
	}
	return "", fmt.Errorf("%w; x-secretvm.privileged does not name it", orElse(compose.CheckBind(source), source))
}

func orElse(err error, source string) error {
	if err == nil {
		return fmt.Errorf("it mounts %s of the machine", source)
	}
	return err
}

// onDisk makes a folder on the encrypted disk, and its parents.
func (p Policy) onDisk(base, name string) (string, error) {
	folder := filepath.Join(p.Disk, base)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := noLinks(folder, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	defer root.Close()
	if _, err := root.Lstat(name); err == nil {
		return filepath.Join(folder, name), nil // of an earlier boot, of whatever kind
	}
	if err := root.MkdirAll(name, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return filepath.Join(folder, name), nil
}

// noLinks refuses a path below folder that leads over a symbolic link: a
// container that may write there could have made it, and dockerd, which follows
// it, would see the machine's root at its other end.
func noLinks(folder, name string) error {
	for at := name; at != "."; at = path.Dir(at) {
		info, err := os.Lstat(filepath.Join(folder, at))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("it mounts %s, which is a symbolic link", at)
		}
	}
	return nil
}

// volume checks a volume that is to be created: on the encrypted disk, in
// memory, or a folder by another name, but no device of the machine.
func (p Policy) volume(body []byte) ([]byte, error) {
	var request fields
	var v struct {
		Driver     string
		DriverOpts map[string]string
	}
	if err := errors.Join(json.Unmarshal(body, &request), json.Unmarshal(body, &v)); err != nil {
		return nil, fmt.Errorf("read the volume: %w", err)
	}
	if v.Driver != "" && v.Driver != "local" {
		return nil, fmt.Errorf("a volume has the driver %q: there is only local", v.Driver)
	}
	device, options := v.DriverOpts["device"], strings.Split(v.DriverOpts["o"], ",")
	switch kind := v.DriverOpts["type"]; {
	case slices.Contains(options, "bind") || slices.Contains(options, "rbind"):
		real, err := p.source("", device)
		if err != nil {
			return nil, fmt.Errorf("a volume: %w", err)
		}
		v.DriverOpts["device"] = real
		if err := request.set("DriverOpts", v.DriverOpts); err != nil {
			return nil, err
		}
		return json.Marshal(request)
	case kind == "" && device == "", kind == "tmpfs", kind == "nfs", kind == "nfs4", kind == "cifs":
		return body, nil
	default:
		return nil, fmt.Errorf("a volume mounts the device %q of the machine", device)
	}
}
