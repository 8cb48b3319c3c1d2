package acpi

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func TestFor(t *testing.T) {
	seen := map[string]vm.Shape{}
	for cpus := 1; cpus <= MaxCPUs; cpus++ {
		for _, low := range []int64{512 << 20, 1 << 30, 1234 << 20, 2 << 30, 2815 << 20} {
			s := vm.Shape{CPUs: cpus, Memory: low}
			b, err := For(s)
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Tables) != tablesSize || len(b.Loader) != loaderSize || len(b.RSDP) != 20 {
				t.Fatalf("%+v: %d, %d and %d bytes", s, len(b.Tables), len(b.Loader), len(b.RSDP))
			}
			if other, twice := seen[string(b.Tables)]; twice {
				t.Errorf("%+v and %+v have the same tables", s, other)
			}
			seen[string(b.Tables)] = s
		}
	}
	// From 2816 MiB on, only 2 GiB are below 4 GiB.
	want, _ := For(vm.Shape{CPUs: 3, Memory: 2 << 30})
	for _, memory := range []int64{2816 << 20, 4 << 30, 512 << 30} {
		if got, err := For(vm.Shape{CPUs: 3, Memory: memory}); err != nil || !bytes.Equal(got.Tables, want.Tables) {
			t.Errorf("%d bytes: the tables are not those of 2 GiB (%v)", memory, err)
		}
	}
	for gpus := range vm.MaxShapeGPUs + 1 {
		for _, cpus := range []int{1, 64} {
			s := vm.Shape{CPUs: cpus, Memory: 1 << 30, GPUs: gpus}
			b, err := For(s)
			if err != nil {
				t.Fatal(err)
			}
			if other, twice := seen[string(b.Tables)]; twice && other != s {
				t.Errorf("%s and %s have the same tables", s, other)
			}
			seen[string(b.Tables)] = s
		}
	}
	if _, err := For(vm.Shape{CPUs: 65, Memory: 2 << 30}); err == nil || !strings.Contains(err.Error(), "65 vCPUs") {
		t.Errorf("65 vCPUs: %v", err)
	}
}

// What OVMF found in fw_cfg when it ran: read behind the back of a guest that
// it had started, on an emulated processor with 46 address bits.
func TestForEqualsWhatFirmwareSaw(t *testing.T) {
	b, err := For(vm.DefaultShape)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{LoaderFile, b.Loader, "80ff230c8718a4b70007c57a42898aaefb56208ed8872cfbcfc54a29a21725a11209851df71a486b04e8645e2514874b"},
		{RSDPFile, b.RSDP, "36ba1468bec14df910e89bbda2e0e326b7580b02242301594ded95dd2c484445bc4b970eb39855365df31bfc527ae70b"},
		{TablesFile, b.Tables, "021e021ec0d02295550e4143dba5c66c0fffd108d76c8dd35e79f34a0f35983e4df52d038a4ec9fa9380231ed94cffd2"},
	} {
		if got := vm.Register(sha512.Sum384(c.got)).String(); got != c.want {
			t.Errorf("%s has the digest %s, want %s", c.name, got, c.want)
		}
	}
}

func TestLinkRefuses(t *testing.T) {
	table := func(name string, size uint32) []byte {
		b := binary.LittleEndian.AppendUint32([]byte(name), size)
		return append(b, make([]byte, 64)...)
	}
	var many []byte
	for range 40 {
		many = append(many, table("SSDT", 72)...)
	}
	for _, c := range []struct {
		name    string
		tables  []byte
		wantErr string
	}{
		{"nothing", nil, "there is no RSDT"},
		{"padding only", make([]byte, 100), "there is no RSDT"},
		{"size 0", table("DSDT", 0), `table "DSDT" at 0x0 has 0 bytes, want 36 to 72`},
		{"overrun", table("DSDT", 73), "has 73 bytes, want 36 to 72"},
		{"huge", table("DSDT", 0xffffffff), "has 4294967295 bytes"},
		{"cut", []byte("DSDT"), "is cut off"},
		{"too many", append(many, table("RSDT", 72)...), "bytes of commands, want at most 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Link(c.tables); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestSetWindowRefuses(t *testing.T) {
	le := binary.LittleEndian
	var window []byte
	for _, v := range []uint32{1 << 30, devicesEnd - 1, 0, devicesEnd - 1<<30} {
		window = le.AppendUint32(window, v)
	}
	for _, c := range []struct {
		name    string
		tables  []byte
		wantErr string
	}{
		{"one", window, ""},
		{"none", make([]byte, 64), "have no window"},
		{"cut before", window[4:], "have no window"},
		{"cut behind", window[:15], "have no window"},
		{"other length", append(bytes.Clone(window[:12]), 0, 0, 0, 1), "have no window"},
		{"two", append(bytes.Clone(window), window...), "have two windows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := SetWindow(bytes.Clone(c.tables), 2<<30)
			if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestPackRoundTrip(t *testing.T) {
	machines, err := unpacked[0]()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := Pack(machines)
	if err != nil {
		t.Fatal(err)
	}
	again, err := unpack(packed)
	if err != nil || len(again) != MaxCPUs || !bytes.Equal(again[63], machines[63]) {
		t.Fatalf("%d machines come back: %v", len(again), err)
	}
	for name, bad := range map[string][]byte{"too few": packed[:len(packed)-20], "no gzip": []byte("tables"), "empty": nil} {
		if _, err := unpack(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	one, _ := Pack(machines[:1])
	if _, err := unpack(one); err == nil || !strings.Contains(err.Error(), "1 machines, want 64") {
		t.Errorf("one machine: %v", err)
	}
	long, _ := Pack([][]byte{bytes.Repeat([]byte{1}, tablesSize+1)})
	if _, err := unpack(long); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("long tables: %v", err)
	}
}

func FuzzLink(f *testing.F) {
	b, err := For(vm.DefaultShape)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Tables[:12<<10])
	f.Fuzz(func(t *testing.T, tables []byte) {
		_ = SetWindow(bytes.Clone(tables), 1<<30)
		b, err := Link(tables)
		if err == nil && (len(b.Loader) != loaderSize || len(b.RSDP) != 20) {
			t.Fatalf("%d and %d bytes", len(b.Loader), len(b.RSDP))
		}
	})
}
