package machine

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Names of the files in a machine's folder.
const (
	stateName       = "machine.json"
	diskName        = "disk.img"
	configName      = "config.img"
	measurementName = "measurement.json"
	bootLogName     = "boot-log.bin"
	consoleLogName  = "console.log"
	qemuLogName     = "qemu.log"
	softTEELogName  = "soft-tee.log"
)

// Bounds of a data disk, in bytes.
const (
	MinDisk = 64 << 20
	MaxDisk = 64 << 40
)

// Folder is the state of one machine. Everything else in it is written anew at
// every start.
type Folder struct {
	dir   string
	state state
}

type state struct {
	Version  int       `json:"version"` // 1
	Instance string    `json:"instance_id"`
	Disk     int64     `json:"disk"` // size of the data disk in bytes
	Created  time.Time `json:"created"`
}

// Open opens the machine in dir; there, on first use, it creates one with a
// random instance id and a blank sparse disk of the given size in bytes. A smaller
// disk that is there grows to that size; a larger one stays as it is.
func Open(dir string, disk int64) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open machine: %w", err)
	}
	f := &Folder{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, f.create(disk)
	case err != nil:
		return nil, fmt.Errorf("open machine: %w", err)
	}
	if err := json.Unmarshal(b, &f.state); err != nil {
		return nil, fmt.Errorf("open machine in %s: decode %s: %w", dir, stateName, err)
	}
	if f.state.Version != 1 {
		return nil, fmt.Errorf("open machine in %s: version is %d, want 1", dir, f.state.Version)
	}
	// A lost disk is an error, never a reason to make a blank one: the machine's
	// generation counter would refuse it, and the owner should hear why.
	info, err := os.Stat(f.Disk())
	if err != nil {
		return nil, fmt.Errorf("open machine in %s: its disk: %w (restore the file, or remove the folder to begin with a new machine)", dir, err)
	}
	if disk > f.state.Disk && (info.Size() == f.state.Disk || info.Size() == disk) {
		return f, f.grow(disk)
	}
	if info.Size() != f.state.Disk {
		return nil, fmt.Errorf("open machine in %s: %s has %d bytes, want %d (restore the file, or remove the folder to begin with a new machine)",
			dir, diskName, info.Size(), f.state.Disk)
	}
	return f, nil
}

// create makes the disk first and the state file last, so that an interrupted
// creation leaves no machine behind.
func (f *Folder) create(disk int64) error {
	if disk < MinDisk || disk > MaxDisk || disk%4096 != 0 {
		return fmt.Errorf("create machine: disk of %d bytes, want %d MiB to %d TiB in whole 4096-byte blocks", disk, MinDisk>>20, int64(MaxDisk)>>40)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("create machine: %w", err)
	}
	if err := createSparse(f.Disk(), disk); err != nil {
		return fmt.Errorf("create machine: %w", err)
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	f.state = state{Version: 1, Instance: hex.EncodeToString(id[:]), Disk: disk, Created: time.Now().UTC().Truncate(time.Second)}
	return f.save()
}

// grow enlarges the disk, and then what is written down of it: an interrupted grow
// is finished by the next. The machine makes its file system larger when it boots.
func (f *Folder) grow(disk int64) error {
	if disk > MaxDisk || disk%4096 != 0 {
		return fmt.Errorf("grow the machine's disk: to %d bytes, want at most %d TiB in whole 4096-byte blocks", disk, int64(MaxDisk)>>40)
	}
	if err := os.Truncate(f.Disk(), disk); err != nil {
		return fmt.Errorf("grow the machine's disk: %w", err)
	}
	f.state.Disk = disk
	return f.save()
}

func (f *Folder) save() error {
	b, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return fmt.Errorf("write down the machine: %w", err)
	}
	return f.write(stateName, append(b, '\n'))
}

// createSparse refuses a disk that holds anything: it may be all that is left
// of a machine whose state file was lost.
func createSparse(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if allocated(info) != 0 {
		return fmt.Errorf("%s is there already without the machine's %s (restore that file, or move the disk away)", path, stateName)
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	return file.Sync()
}

// write replaces a file of the folder as a whole, durably.
func (f *Folder) write(name string, content []byte) error {
	path := filepath.Join(f.dir, name)
	file, err := os.CreateTemp(f.dir, name+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Dir returns the folder's absolute path.
func (f *Folder) Dir() string { return f.dir }

// Instance returns the machine's vm_uid: 32 lower-case hex digits.
func (f *Folder) Instance() string { return f.state.Instance }

// Disk returns the path of the data disk: a raw, sparse image.
func (f *Folder) Disk() string { return filepath.Join(f.dir, diskName) }

// DiskSize returns the size of the data disk in bytes.
func (f *Folder) DiskSize() int64 { return f.state.Disk }

// ConsoleLog returns the path of the log of the guest's console.
func (f *Folder) ConsoleLog() string { return filepath.Join(f.dir, consoleLogName) }
