package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secretvm/secretvm/disk/integrity"
	"github.com/secretvm/secretvm/disk/luks"
)

type direct struct{}

func (direct) Run(_ context.Context, cmd *exec.Cmd) ([]byte, error) { return cmd.CombinedOutput() }

// machine is a System over a plain file with a real LUKS2 header; the file
// system inside is a folder. It can lose power before any of its operations.
type machine struct {
	t         *testing.T
	linux     Linux
	hasFS     bool
	super     bool // of dm-integrity
	written   bool // all of its blocks
	checked   bool // mapped
	checkedBy luks.VolumeKey
	mapped    bool
	mounted   bool
	volume    luks.VolumeKey // the key that the file system was made under
	current   luks.VolumeKey
	writes    int // times the disk was opened for writing
	ops       int
	cutAt     int // lose power before this operation, counted from 1
	mountErr  error
}

var errPowerCut = errors.New("power cut")

func newMachine(t *testing.T) (*machine, Options) {
	t.Helper()
	tool, err := exec.LookPath("cryptsetup")
	if err != nil {
		tool = "/usr/sbin/cryptsetup"
		if _, err := os.Stat(tool); err != nil {
			t.Skip("cryptsetup is not installed (Debian package cryptsetup-bin)")
		}
	}
	dir := t.TempDir()
	m := &machine{t: t, linux: Linux{Run: direct{}, Cryptsetup: tool}}
	o := Options{Device: filepath.Join(dir, "disk"), MountPoint: filepath.Join(dir, "data"), Key: luks.Key{1}, System: m}
	if err := errors.Join(os.WriteFile(o.Device, nil, 0o600), os.Truncate(o.Device, luks.PayloadOffset+1<<20), os.Mkdir(o.MountPoint, 0o700)); err != nil {
		t.Fatal(err)
	}
	return m, o
}

func (m *machine) tick() error {
	m.ops++
	if m.ops == m.cutAt {
		return errPowerCut
	}
	return nil
}

// boot forgets what memory held.
func (m *machine) boot(cutAt int) {
	m.mapped, m.checked, m.mounted, m.ops, m.cutAt, m.writes = false, false, false, 0, cutAt, 0
}

func (m *machine) Open(device string, write bool) (File, int64, error) {
	if err := m.tick(); err != nil {
		return nil, 0, err
	}
	f, size, err := m.linux.Open(device, write)
	if err != nil {
		return nil, 0, err
	}
	if write {
		m.writes++
	}
	return &cutFile{File: f, m: m}, size, nil
}

func (m *machine) Share(device string) (File, error) {
	if err := m.tick(); err != nil {
		return nil, err
	}
	f, err := m.linux.Share(device)
	if err != nil {
		return nil, err
	}
	m.writes++
	return &cutFile{File: f, m: m}, nil
}

func (m *machine) Renew(ctx context.Context, disk luks.Disk, current luks.Key, older ...luks.Key) error {
	return m.linux.Renew(ctx, disk, current, older...)
}

// cutFile loses power in the middle of a write, and after it.
type cutFile struct {
	File
	m *machine
}

func (f *cutFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.m.tick(); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/8], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (m *machine) Format(ctx context.Context, disk luks.Disk, key luks.Key) (*luks.VolumeKey, error) {
	return m.linux.Format(ctx, disk, key)
}

func (m *machine) Activate(_, device string, _ int64, key *luks.VolumeKey) (string, error) {
	if err := m.tick(); err != nil {
		return "", err
	}
	m.mapped, m.current = true, *key
	return device + ".plain", nil
}

// ActivateChecked and FormatChecked are played: what the kernel does with blocks is
// shown where there is a kernel (test/disk).
func (m *machine) ActivateChecked(_, lower string, key *luks.VolumeKey) (string, error) {
	if err := m.tick(); err != nil {
		return "", err
	}
	if !m.super || m.checkedBy != *key {
		return "", integrity.ErrSuperblock
	}
	m.checked = true
	return lower + ".checked", nil
}

func (m *machine) FormatChecked(_, _ string, key *luks.VolumeKey) error {
	if err := m.tick(); err != nil {
		return err
	}
	m.super, m.written, m.hasFS, m.checkedBy = true, false, false, *key
	if err := m.tick(); err != nil {
		return err
	}
	m.written = true
	return nil
}

func (m *machine) Grow(string, string) (bool, error) { return false, m.tick() }

func (m *machine) Deactivate(name string) error {
	if name == mapName && m.checked {
		m.checked = false
		return nil
	}

	if !m.mapped {
		return errors.New("not mapped")
	}
	m.mapped = false
	return nil
}

func (m *machine) MakeFileSystem(context.Context, string) error {
	if err := m.tick(); err != nil {
		m.hasFS = false
		return err
	}
	m.hasFS, m.volume = true, m.current
	return nil
}

func (m *machine) Mount(_, _ string) error {
	if err := m.tick(); err != nil {
		return err
	}
	if m.mountErr != nil {
		return m.mountErr
	}
	if m.checked && !m.written {
		return syscall.EIO
	}
	if !m.hasFS || m.volume != m.current {
		return fmt.Errorf("%w: bad magic", errNoFileSystem)
	}
	m.mounted = true
	return nil
}

func (m *machine) Unmount(string) error {
	m.mounted = false
	return nil
}

func TestFirstAndSecondBoot(t *testing.T) {
	m, o := newMachine(t)
	v, err := Open(t.Context(), o)
	if err != nil || !v.Formatted || v.Generation != 0 {
		t.Fatalf("first boot: %+v, %v", v, err)
	}
	if err := v.SetGeneration(1); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil || m.mapped || m.mounted {
		t.Fatalf("close: %v, mapped %t, mounted %t", err, m.mapped, m.mounted)
	}
	for _, chain := range []uint64{0, 1} { // the chain may not have heard of it
		m.boot(0)
		o.Generation = chain
		v, err = Open(t.Context(), o)
		if err != nil || v.Formatted || v.Generation != 1 || m.writes != 0 {
			t.Fatalf("second boot, chain says %d: %+v, %v, %d writes", chain, v, err, m.writes)
		}
	}
}

// TestD1_DiskIsLeftAlone: when the disk does not open, nothing is formatted,
// nothing mapped, and not one byte of it changes.
func TestD1_DiskIsLeftAlone(t *testing.T) {
	flip := func(off int64) func(*machine, *Options) {
		return func(m *machine, o *Options) {
			f, err := os.OpenFile(o.Device, os.O_RDWR, 0)
			if err != nil {
				m.t.Fatal(err)
			}
			defer f.Close()
			b := make([]byte, 1)
			_, _ = f.ReadAt(b, off)
			b[0] ^= 0x40
			_, _ = f.WriteAt(b, off)
		}
	}
	for _, tt := range []struct {
		name    string
		change  func(*machine, *Options)
		wantErr string
	}{
		{"wrong key", func(_ *machine, o *Options) { o.Key = luks.Key{2} }, "does not open with this key"},
		{"damaged first copy", flip(5000), "checksum does not hold"},
		{"damaged second copy", flip(16384 + 5000), "checksum does not hold"},
		{"damaged key slot", flip(32768 + 5000), "does not open with this key"},
		{"erased first copy", func(m *machine, o *Options) {
			f, _ := os.OpenFile(o.Device, os.O_RDWR, 0)
			defer f.Close()
			_, _ = f.WriteAt(make([]byte, 16384), 0)
		}, "magic bytes are missing"},
		{"somebody's file system", func(m *machine, o *Options) {
			f, _ := os.OpenFile(o.Device, os.O_RDWR, 0)
			defer f.Close()
			_, _ = f.WriteAt(make([]byte, 300_000), 0)
			_, _ = f.WriteAt([]byte{0x53, 0xef}, 1080)
		}, "magic bytes are missing"},
		{"blank disk of a used instance", func(m *machine, o *Options) {
			_ = os.Truncate(o.Device, 0)
			_ = os.Truncate(o.Device, luks.PayloadOffset+1<<20)
		}, "has stored data before"},
		{"short disk", func(_ *machine, o *Options) { _ = os.Truncate(o.Device, 1<<20) }, "want more than"},
		{"missing disk", func(_ *machine, o *Options) { o.Device += ".gone" }, "open disk"},
		{"read error of the file system", func(m *machine, _ *Options) { m.mountErr = syscall.EIO }, "input/output error"},
		{"damaged file system", func(m *machine, _ *Options) { m.hasFS = false }, "no file system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, o := newMachine(t)
			v, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(v.SetGeneration(1), v.Close()); err != nil {
				t.Fatal(err)
			}
			m.boot(0)
			o.Generation = 1
			tt.change(m, &o)
			hadFS := m.hasFS
			before, _ := os.ReadFile(o.Device)
			_, err = Open(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want an error with %q", err, tt.wantErr)
			}
			if after, _ := os.ReadFile(o.Device); !bytes.Equal(before, after) || m.writes > 0 || m.hasFS != hadFS {
				t.Error("the disk was written")
			}
			if m.mapped || m.mounted {
				t.Error("something stayed mapped or mounted")
			}
		})
	}
}

// TestD4_Rollback is the table of generations.
func TestD4_Rollback(t *testing.T) {
	for _, tt := range []struct {
		disk, chain uint64
		wantErr     error
	}{
		{0, 0, nil},
		{1, 0, nil},
		{2, 0, ErrAhead},
		{0, 1, ErrRolledBack}, // an unfinished disk, or one from before the first boot
		{1, 1, nil},
		{2, 1, nil},
		{3, 1, ErrAhead},
		{6, 7, ErrRolledBack},
		{1<<63 - 1, 0, ErrAhead},
	} {
		m, o := newMachine(t)
		v, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if tt.disk > 0 {
			err = v.SetGeneration(tt.disk)
		}
		if err := errors.Join(err, v.Close()); err != nil {
			t.Fatal(err)
		}
		m.boot(0)
		o.Generation = tt.chain
		v, err = Open(t.Context(), o)
		if !errors.Is(err, tt.wantErr) || (tt.wantErr == nil) != (err == nil) {
			t.Errorf("disk %d, chain %d: %v, want %v", tt.disk, tt.chain, err, tt.wantErr)
		}
		if err == nil && v.Formatted {
			t.Errorf("disk %d, chain %d: formatted again", tt.disk, tt.chain)
		}
		if err != nil && (m.mapped || m.mounted) {
			t.Errorf("disk %d, chain %d: left open", tt.disk, tt.chain)
		}
	}
}

// TestD5_PowerCut cuts the power before and within every operation of the
// first boot. The next boot finds a whole disk or says clearly what is wrong,
// and a disk that is used is never formatted.
func TestD5_PowerCut(t *testing.T) {
	for _, checked := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "integrity"}[checked], func(t *testing.T) { powerCuts(t, checked) })
	}
}

func powerCuts(t *testing.T, checked bool) {
	whole, clear := 0, 0
	for cut := 1; ; cut++ {
		m, o := newMachine(t)
		o.Integrity = checked
		m.boot(cut)
		v, err := Open(t.Context(), o)
		if err == nil {
			if m.ops >= cut {
				t.Fatalf("cut at %d did not happen", cut)
			}
			if v.Generation != 0 {
				t.Errorf("generation is %d", v.Generation)
			}
			break // the whole first boot has fewer operations
		}
		if !errors.Is(err, errPowerCut) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		m.boot(0)
		v, err = Open(t.Context(), o)
		switch {
		case err == nil:
			whole++
		case err != nil && strings.Contains(err.Error(), "first format was interrupted"):
			clear++
		default:
			t.Errorf("after a cut at %d: %+v, %v", cut, v, err)
		}
	}
	if whole < 4 || clear < 2 {
		t.Errorf("%d cuts led to a whole disk, %d to a clear error: the test lost its cuts", whole, clear)
	}
}

func TestInterruptedFormatOfUsedInstance(t *testing.T) {
	m, o := newMachine(t)
	v, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_ = v.Close()
	m.boot(0)
	m.hasFS = false // as after a cut before mkfs, but the chain says used
	o.Generation = 3
	if _, err := Open(t.Context(), o); err == nil || m.hasFS {
		t.Errorf("made a file system for a used instance: %v", err)
	}
}

// TestUncountedDiskIsNeverFormattedTwice: where nobody counts boots, a file
// system that cannot be mounted may be a workload's.
func TestUncountedDiskIsNeverFormattedTwice(t *testing.T) {
	m, o := newMachine(t)
	o.Uncounted = true
	for boot := range 2 {
		v, err := Open(t.Context(), o)
		if err != nil || v.Formatted != (boot == 0) {
			t.Fatalf("boot %d: %+v, %v", boot, v, err)
		}
		_ = v.Close()
		m.boot(0)
	}
	m.hasFS = false // damaged
	if _, err := Open(t.Context(), o); !errors.Is(err, errNoFileSystem) || m.hasFS {
		t.Errorf("made a file system where one may have been: %v", err)
	}
}

func TestEphemeral(t *testing.T) {
	m, o := newMachine(t)
	var keys []luks.VolumeKey
	for range 2 {
		m.boot(0)
		v, err := OpenEphemeral(t.Context(), o)
		if err != nil || !v.Formatted {
			t.Fatalf("%+v, %v", v, err)
		}
		keys = append(keys, m.volume)
		_ = v.Close()
	}
	if keys[0] == keys[1] || keys[0] == (luks.VolumeKey{}) {
		t.Error("two boots had the same key")
	}
	m.boot(0)
	if _, err := Open(t.Context(), o); err != nil { // now it has a header
		t.Fatal(err)
	}
	m.boot(0)
	m.hasFS = true
	if _, err := OpenEphemeral(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not blank") || m.ops != 1 {
		t.Errorf("ephemeral over a used disk: %v", err)
	}
}

func TestReadGenerationRefusesNoise(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, stateFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "\n", "1", "01\n", "+1\n", "-1\n", "1\n\n", "9223372036854775808\n", "x\n"} {
		if err := os.WriteFile(filepath.Join(root, stateFolder, generationFile), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := readGeneration(root); err == nil {
			t.Errorf("%q was read as %d", s, n)
		}
	}
}
