package qtest_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/host/qtest"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/test/locked"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// The packed tables are of the machine that host/qemu describes and of the
// locked QEMU: else go generate ./measure/acpi is due.
func TestPackedTablesAreOfThisMachine(t *testing.T) {
	origin, err := acpi.PackedOrigin()
	if err != nil {
		t.Fatal(err)
	}
	args, err := qtest.Arguments(vm.Shape{CPUs: 1, Memory: 2 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(args, origin.Arguments) {
		t.Errorf("the machine has the arguments %q, the packed tables are of %q: run go generate ./measure/acpi", args, origin.Arguments)
	}
	with, err := qtest.Arguments(vm.Shape{CPUs: 1, Memory: 2 << 30, GPUs: vm.MaxShapeGPUs})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(with, origin.WithGPUs) {
		t.Errorf("the machine with GPUs has the arguments %q, the packed tables are of %q: run go generate ./measure/acpi", with, origin.WithGPUs)
	}
	l, err := image.BaseLock()
	if err != nil {
		t.Fatal(err)
	}
	group, err := l.Group(lock.Tools)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(group, func(p lock.Package) bool { return p.Name == "qemu-system-x86" })
	if i < 0 || !strings.Contains(origin.QEMU, "(Debian "+group[i].Version+")") {
		t.Errorf("the packed tables are of %q, the lock has another: run go generate ./measure/acpi", origin.QEMU)
	}
}

// Prediction needs no QEMU because it says the same: for shapes that were
// packed and for others.
func TestPredictionEqualsQEMU(t *testing.T) {
	binary := locked.QEMU(t)
	for _, s := range []vm.Shape{
		{CPUs: 1, Memory: 512 << 20},
		{CPUs: 2, Memory: 2 << 30},
		{CPUs: 3, Memory: 1234 << 20},
		{CPUs: 5, Memory: 2815 << 20},
		{CPUs: 16, Memory: 2816 << 20},
		{CPUs: 64, Memory: 512 << 30},
		{CPUs: 4, Memory: 1 << 30, GPUs: 1},
		{CPUs: 7, Memory: 2815 << 20, GPUs: 3},
		{CPUs: 64, Memory: 512 << 30, GPUs: 8},
	} {
		got, err := acpi.For(s)
		if err != nil {
			t.Fatal(err)
		}
		want, err := qtest.ACPI(t.Context(), binary, s)
		if err != nil {
			t.Fatal(err)
		}
		for name, pair := range map[string][2][]byte{
			acpi.LoaderFile: {got.Loader, want.Loader}, acpi.RSDPFile: {got.RSDP, want.RSDP}, acpi.TablesFile: {got.Tables, want.Tables},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%+v: %s is not QEMU's", s, name)
			}
		}
	}
}

// What stands in for a GPU does not matter, and neither does where its memory
// is: the tables have an entry for the port and one for whatever is behind it.
// Without anything behind it they are others.
func TestTablesDoNotSayWhatIsBehindAPort(t *testing.T) {
	binary := locked.QEMU(t)
	shape := vm.Shape{CPUs: 2, Memory: 2 << 30, GPUs: 2}
	args, err := qtest.Arguments(shape)
	if err != nil {
		t.Fatal(err)
	}
	want, err := acpi.For(shape)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, device string
		same         bool
	}{
		{"little memory", "pci-testdev,membar=64K", true},
		{"more memory", "pci-testdev,membar=512G", true},
		{"no memory", "pci-testdev", true},
		{"a network card", "e1000e,romfile=", true},
		{"a disk's controller", "nvme,serial=x", true},
		{"nothing", "", false},
	} {
		var other []string
		for i := 0; i < len(args); i++ {
			rest, is := strings.CutPrefix(args[i], "pci-testdev,membar=128G,")
			switch {
			case !is:
				other = append(other, args[i])
			case c.device == "":
				other = other[:len(other)-1] // its -device
			default:
				other = append(other, c.device+","+rest)
			}
		}
		if slices.Equal(args, other) {
			t.Fatalf("%s: %q has no stand-in", c.name, args)
		}
		got, err := qtest.Tables(t.Context(), binary, other)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got.Tables, want.Tables) != c.same {
			t.Errorf("%s behind the ports: same tables is %v, want %v", c.name, !c.same, c.same)
		}
	}
}

// The tables of a TD that ran on hardware under QEMU 10.2.1 and the firmware of
// this release. Our QEMU is newer and describes hot-plug of processors without
// one method; apart from that it must say the same, to the byte: the old
// interrupt controller that TDX switches off, where the firmware put the devices.
func TestTablesEqualThoseOfALiveTD(t *testing.T) {
	live := vectors.Read(t, "measure/fortanix-tdx-measure/runtime-capture/acpi_tables.bin")
	scsi := "virtio-scsi-pci,disable-legacy=on,iommu_platform=true,id="
	got, err := qtest.Tables(t.Context(), locked.QEMU(t), []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-smp", "8", "-m", "16384M", "-cpu", "Skylake-Server,phys-bits=46",
		"-machine", "pc-q35-10.2,smm=off,pic=off,memory-backend=ram", "-object", "memory-backend-ram,id=ram,size=16G,reserve=off",
		"-global", "q35-pcihost.pci-hole64-size=4096G",
		"-netdev", "hubport,id=net0,hubid=0", "-device", "e1000,netdev=net0,bus=pcie.0,addr=0x2,romfile=",
		"-device", "virtio-balloon-pci", // in the slot of the capture's vsock device
		"-device", scsi + "scsi0", "-device", scsi + "scsi1", "-device", scsi + "scsi2",
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := withoutMethod(t, live); !bytes.Equal(bytes.TrimRight(got.Tables, "\x00"), bytes.TrimRight(want, "\x00")) {
		t.Error("the tables differ from those of the live TD")
	}
}

// withoutMethod takes _INI of the processors' container out of the DSDT, which
// is behind 64 bytes of FACS, and makes up for the 13 bytes in the lengths and
// addresses around it.
func withoutMethod(t *testing.T, tables []byte) []byte {
	t.Helper()
	method := []byte("\x14\x0c_INI\x08\x70\x00CSEL")
	at := bytes.Index(tables, method)
	if at < 0 {
		t.Fatal("the capture has no such method")
	}
	out := slices.Delete(bytes.Clone(tables), at, at+len(method))
	le := binary.LittleEndian
	le.PutUint32(out[64+4:], le.Uint32(out[64+4:])-uint32(len(method)))
	// Scope(_SB) and Device(\_SB.PCI0.PRES) around it: PkgLength of two bytes,
	// the low four bits in the first (ACPI 6.5, 20.2.4).
	shorten := func(pattern string) {
		p := bytes.LastIndex(out[:at], []byte(pattern)) - 2
		n := int(out[p]&0xf) | int(out[p+1])<<4
		n -= len(method)
		out[p], out[p+1] = out[p]&0xf0|byte(n&0xf), byte(n>>4)
	}
	shorten("_SB_[\x82") // ExtOp Device behind it
	shorten(`\/` + "\x03_SB_PCI0PRES")
	rsdt := bytes.LastIndex(out, []byte("RSDT")) // entries point to tables behind the DSDT
	for p := rsdt + 36; p < rsdt+int(le.Uint32(out[rsdt+4:])); p += 4 {
		le.PutUint32(out[p:], le.Uint32(out[p:])-uint32(len(method)))
	}
	return out
}

func TestStartReportsWhatQEMUSays(t *testing.T) {
	_, err := qtest.Tables(t.Context(), locked.QEMU(t), []string{"-nodefaults", "-display", "none", "-machine", "no-such-board"})
	if err == nil || !strings.Contains(err.Error(), "no-such-board") && !strings.Contains(err.Error(), "supported machines") {
		t.Errorf("error is %v, want what QEMU said", err)
	}
}

// What QEMU said is kept, and asked for again where the file is damaged.
func TestDigestsAreKept(t *testing.T) {
	binary, dir := locked.QEMU(t), filepath.Join(t.TempDir(), "acpi")
	shape := vm.Shape{CPUs: 2, Memory: 3 << 30}
	want, err := measure.PredictACPI(shape)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"", "{", "{}"} {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, file := range files {
			if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := qtest.Digests(t.Context(), binary, dir, shape)
		if err != nil || got != want {
			t.Errorf("kept file %q: digests are %+v, want %+v (%v)", damage, got, want, err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 1 {
		t.Errorf("%d files are kept, want 1: %v", len(files), files)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := qtest.Digests(t.Context(), binary, dir, shape); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(files[0]); err != nil || !after.ModTime().Equal(info.ModTime()) {
		t.Errorf("the kept file was written again (%v)", err)
	}
}
