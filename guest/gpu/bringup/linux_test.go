package bringup

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/gpu/nvml"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// G4: what counts is the bus, not what a driver took.
func TestG4_GPUsAreCountedOnTheBus(t *testing.T) {
	dir := t.TempDir()
	for address, id := range map[string][2]string{
		"0000:01:00.0": {"0x10de", "0x030200"}, // 3D controller
		"0000:02:00.0": {"0x10de", "0x030000"}, // display
		"0000:03:00.0": {"0x10de", "0x068000"}, // a bridge: NVSwitch
		"0000:04:00.0": {"0x1af4", "0x030000"},
	} {
		write(t, filepath.Join(dir, address, "vendor"), id[0]+"\n")
		write(t, filepath.Join(dir, address, "class"), id[1]+"\n")
	}
	if n, err := countGPUs(dir); err != nil || n != 2 {
		t.Errorf("%d GPUs, %v, want 2", n, err)
	}
	write(t, filepath.Join(dir, "0000:05:00.0", "vendor"), "0x10de\n")
	if _, err := countGPUs(dir); err == nil {
		t.Error("a device that does not say what it is, is none")
	}
}

// A driver that knows no device of the machine does not stay, and says nothing of
// why what depends on it cannot be loaded.
func TestDriverThatKnowsNoDevice(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "modules.list")
	write(t, list, "")
	loaded := filepath.Join(dir, "nvidia")
	if err := loadDriver(list, loaded); err == nil || !strings.Contains(err.Error(), "knows none of them") {
		t.Errorf("error is %v, want that the driver knows none", err)
	}
	write(t, filepath.Join(loaded, "version"), "550")
	if err := loadDriver(list, loaded); err != nil {
		t.Errorf("with the driver there: %v", err)
	}
	if err := loadDriver(filepath.Join(dir, "absent"), loaded); err == nil {
		t.Error("without a list nothing is wrong")
	}
}

func TestMajorOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "devices")
	write(t, file, "Character devices:\n  1 mem\n195 nvidia\n234 nvidia-uvm\n\nBlock devices:\n259 blkext\n")
	if n, err := majorOf(file, nameUVM); err != nil || n != 234 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := majorOf(file, "nvidia-caps"); err == nil || !strings.Contains(err.Error(), "not loaded") {
		t.Errorf("a driver that is not there: %v", err)
	}
}

// Containers get the devices they name and the libraries under the names that
// programs ask for.
func TestDescription(t *testing.T) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	for _, name := range []string{"libcuda.so.1", "libnvidia-ml.so.1"} {
		file := filepath.Join(dir, strings.TrimSuffix(name, "1")+"550.163.01")
		if out, err := exec.Command(compiler, "-shared", "-nostdlib", "-x", "c", "-Wl,-soname,"+name, "-o", file, "/dev/null").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	libraries, err := findLibraries([]string{dir}, "550.163.01")
	if err != nil || len(libraries) != 2 {
		t.Fatalf("%v, %v", libraries, err)
	}
	if _, err := findLibraries([]string{dir}, "580.95.05"); err == nil || !strings.Contains(err.Error(), "no libcuda.so.580.95.05") {
		t.Errorf("of another version: %v", err)
	}
	devices := []nvml.Device{{UUID: "GPU-a", Minor: 0}, {UUID: "GPU-b", Minor: 3}}
	if err := writeSpec(filepath.Join(dir, "cdi"), describe(devices, libraries, smi)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cdi", "nvidia.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s spec
	if err := json.Unmarshal(text, &s); err != nil || s.Kind != "nvidia.com/gpu" {
		t.Fatalf("%s, %v", text, err)
	}
	nodes := map[string]string{}
	for _, d := range s.Devices {
		for _, n := range d.Edits.Nodes {
			nodes[d.Name] += n.Path + " "
		}
	}
	for name, want := range map[string]string{"0": "/dev/nvidia0 ", "1": "/dev/nvidia3 ", "GPU-b": "/dev/nvidia3 ", "all": "/dev/nvidia0 /dev/nvidia3 "} {
		if nodes[name] != want {
			t.Errorf("device %s is %q, want %q", name, nodes[name], want)
		}
	}
	at := func(path string) bool {
		return slices.ContainsFunc(s.Edits.Mounts, func(m mount) bool { return m.Container == path && slices.Contains(m.Options, "ro") })
	}
	for _, path := range []string{"/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libnvidia-ml.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/bin/nvidia-smi"} {
		if !at(path) {
			t.Errorf("containers have no %s", path)
		}
	}
	if len(s.Edits.Mounts) != 7 {
		t.Errorf("mounts are %+v", s.Edits.Mounts)
	}
	if want := "TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu"; !slices.Contains(s.Edits.Env, want) {
		t.Errorf("the environment is %v, want %s in it", s.Edits.Env, want)
	}
}
