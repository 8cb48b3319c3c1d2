package luks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Runner runs a command to its end. PID 1 must know its own children from
// orphans, so that commands are run where the caller says.
type Runner interface {
	Run(ctx context.Context, cmd *exec.Cmd) (output []byte, err error)
}

// Disk is what Format writes to: a block device or a file.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Format makes a header for key on a blank disk and returns it, read back and
// unlocked. It refuses a disk that is not blank. cryptsetup is the binary's
// path; it works on memory, and gets the key over a pipe.
//
// The order of the writes makes an interrupted Format recognisable: the first
// copy, with the magic bytes that everything looks for, is written last.
func Format(ctx context.Context, run Runner, cryptsetup string, disk Disk, key Key) (*Header, *VolumeKey, error) {
	blank, err := Blank(disk)
	if err != nil {
		return nil, nil, err
	}
	if !blank {
		return nil, nil, errors.New("format disk: it is not blank")
	}
	area, header, volume, err := makeHeader(ctx, run, cryptsetup, key, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := writeHeader(disk, area); err != nil {
		return nil, nil, err
	}
	return header, volume, nil
}

// writeHeader writes a header area to its place, the first copy last.
func writeHeader(disk Disk, area []byte) error {
	for _, from := range []int{headerSize, 0} {
		to := headerSize
		if from > 0 {
			to = len(area)
		}
		if err := writeSynced(disk, area[from:to], int64(from)); err != nil {
			return err
		}
	}
	return nil
}

func writeSynced(disk Disk, b []byte, off int64) error {
	if _, err := disk.WriteAt(b, off); err != nil {
		return fmt.Errorf("write LUKS2 header: %w", err)
	}
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("write LUKS2 header: %w", err)
	}
	return nil
}

// makeHeader has cryptsetup format an anonymous file in memory and returns its
// first metadataSize bytes, read and unlocked. Options are added to its command
// line, files to what it inherits from descriptor 4 on.
func makeHeader(ctx context.Context, run Runner, cryptsetup string, key Key, options []string, files ...*os.File) ([]byte, *Header, *VolumeKey, error) {
	area, err := cryptsetupArea(ctx, run, cryptsetup, key, options, files)
	if err != nil {
		return nil, nil, nil, err
	}
	header, err := Parse(area)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("check the header that cryptsetup made: %w", err)
	}
	volume, err := header.Unlock(key)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("check the header that cryptsetup made: %w", err)
	}
	return area, header, volume, nil
}

// memoryFile makes an anonymous file that lies nowhere but in memory.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file for the LUKS2 header: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func cryptsetupArea(ctx context.Context, run Runner, cryptsetup string, key Key, options []string, files []*os.File) ([]byte, error) {
	memory, err := memoryFile("luks-header")
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	// One sector of payload, or cryptsetup finds the device too small.
	if err := memory.Truncate(PayloadOffset + SectorSize); err != nil {
		return nil, fmt.Errorf("make memory file for the LUKS2 header: %w", err)
	}
	pipe, err := keyPipe(key)
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	args := []string{
		"luksFormat", "--type", "luks2", "--batch-mode",
		"--cipher", Cipher, "--key-size", "512", "--sector-size", "4096", "--offset", "32768", // in units of 512 bytes
		"--pbkdf", "pbkdf2", "--hash", hashName, "--pbkdf-force-iterations", "1000",
		"--luks2-metadata-size", "16k", "--luks2-keyslots-size", "256k",
		"--key-file", "-", "--keyfile-size", "32",
	}
	cmd := exec.CommandContext(ctx, cryptsetup, append(append(args, options...), "/proc/self/fd/3")...)
	cmd.Stdin = pipe
	cmd.ExtraFiles = append([]*os.File{memory}, files...)
	if out, err := run.Run(ctx, cmd); err != nil {
		return nil, fmt.Errorf("make LUKS2 header: cryptsetup: %w: %s", err, out)
	}
	area := make([]byte, metadataSize)
	if _, err := memory.ReadAt(area, 0); err != nil {
		return nil, fmt.Errorf("read the header that cryptsetup made: %w", err)
	}
	return area, nil
}

// keyPipe returns the reading end of a pipe that holds key: it fits a pipe's
// buffer, so that nobody has to be waiting on the other end.
func keyPipe(key Key) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe for the disk key: %w", err)
	}
	defer w.Close()
	if _, err := w.Write(key[:]); err != nil {
		r.Close()
		return nil, fmt.Errorf("pass the disk key: %w", err)
	}
	return r, nil
}
