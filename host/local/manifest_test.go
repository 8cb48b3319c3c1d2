package local

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/vm"
)

// measurable is an image folder whose files can be predicted; its manifest has
// three shapes.
func measurable(t *testing.T, change func(*vm.Manifest)) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) vm.File {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return vm.File{Name: name, Size: int64(len(b)), SHA256: vm.HashOf(b)}
	}
	in := measure.Input{
		Firmware: ovmftest.Image(ovmftest.Sections()), Kernel: linuxboottest.Kernel(), Initrd: []byte("initrd"),
		CommandLine: "console=ttyS0", Profile: measure.EDK2Stable202502(),
	}
	m := vm.Manifest{
		Version: 1, Name: "base", Release: "v0", CommandLine: in.CommandLine,
		Firmware: write("OVMF.fd", in.Firmware), Kernel: write("vmlinuz", in.Kernel),
		Initramfs: write("initramfs.cpio", in.Initrd), Rootfs: write("rootfs.img", []byte("rootfs")),
	}
	var err error
	if m.Predictions, err = measure.PredictShapes(in, measure.Shapes()[:3]); err != nil {
		t.Fatal(err)
	}
	change(&m)
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(vm.ManifestName, text)
	return dir
}

// The manifest that the printed command names predicts the machine, whatever
// its shape, and the image's own is left as it is.
func TestManifestPredictsTheMachine(t *testing.T) {
	image := measurable(t, func(*vm.Manifest) {})
	before, err := os.ReadFile(filepath.Join(image, vm.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shape vm.Shape
		added bool
	}{{vm.DefaultShape, false}, {vm.Shape{CPUs: 3, Memory: 1234 << 20}, true}} {
		im, err := OpenImage(image, c.shape)
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		file, added, err := im.manifestFor(folder)
		if err != nil || added != c.added || filepath.Dir(file) != map[bool]string{false: image, true: folder}[c.added] {
			t.Fatalf("%s: the manifest is %s, added is %v, %v", c.shape, file, added, err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := vm.ParseManifest(text)
		if err != nil {
			t.Fatal(err)
		}
		// What verify compares is the emulator's registers, which are these.
		launched, err := im.Launched(workloadConfig())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(m.Predictions, func(p vm.Prediction) bool {
			return p.MRTD == launched.MRTD && p.RTMR0 == launched.RTMR[0] && p.RTMR1 == launched.RTMR[1] && p.RTMR2 == launched.RTMR[2] && p.Shape == c.shape
		}) {
			t.Errorf("%s: no prediction of %s has the registers of the machine", c.shape, file)
		}
		m.Predictions = m.Predictions[:3]
		if same, err := m.Encode(); err != nil || string(same) != string(before) {
			t.Errorf("%s: the manifest differs in more than a prediction (%v)", c.shape, err)
		}
	}
	if after, err := os.ReadFile(filepath.Join(image, vm.ManifestName)); err != nil || string(after) != string(before) {
		t.Errorf("the image's manifest was changed (%v)", err)
	}
}

// A manifest that contradicts its files is refused before anything starts.
func TestOpenImageRefusesAnotherPrediction(t *testing.T) {
	for _, change := range []func(*vm.Manifest){
		func(m *vm.Manifest) { m.Predictions[0].RTMR0[0] ^= 1 },
		func(m *vm.Manifest) { m.CommandLine += " init=/bin/sh" },
	} {
		if _, err := OpenImage(measurable(t, change), vm.DefaultShape); err == nil || !strings.Contains(err.Error(), "predicts other registers") {
			t.Errorf("error is %v", err)
		}
	}
}

func workloadConfig() vm.Config {
	return vm.Config{
		Version: 1, Service: "svm1owner/guestbook", ComposeHash: vm.HashOf([]byte("compose")), InstanceID: strings.Repeat("ab", 16),
		KMS: vm.KMS{ChainID: "local-1", GroupKey: strings.Repeat("0a", 96)}, TLS: "self", Open: []string{}, Images: "digest", GPU: "none",
	}
}
