package peer_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func TestOSImageOfRealMachines(t *testing.T) {
	m, _ := dstackMachine(t, "tdx-lite-getquote.json")
	var answer struct {
		Config string `json:"vm_config"`
	}
	if err := json.Unmarshal(vectors.Read(t, fixtures+"tdx-lite-getquote.json"), &answer); err != nil {
		t.Fatal(err)
	}
	image, err := peer.ParseOSImage([]byte(answer.Config))
	if err != nil {
		t.Fatal(err)
	}
	if image.Hash.String() != "e6f5cfec20c02e7b97baa213d0f718020b55e040172d90ccbcb946d56c8b09db" || !image.Firmware(m) || !image.Kernel(m) || image.Launched(m.MRTD) {
		t.Errorf("%s: firmware %t, kernel %t", image.Hash, image.Firmware(m), image.Kernel(m))
	}
	other := m
	other.MRTD[0] ^= 1
	other.RTMR[2][0] ^= 1
	if image.Firmware(other) || image.Kernel(other) {
		t.Error("the image explains other registers")
	}

	a, err := peer.ParseAttestation(container(t, "sev-snp-attestation.json"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := snp.Decode(a.Evidence.Quote)
	if err != nil {
		t.Fatal(err)
	}
	image, err = peer.ParseOSImage(a.VMConfig)
	if err != nil {
		t.Fatal(err)
	}
	if image.Hash.String() != "f69c8e5031ec2b269bbc08839ce02cb98ee255d695626f941f4b37b95946d352" || !image.Launched(report.Measurement) || image.Firmware(m) || image.Kernel(m) {
		t.Errorf("%s does not explain the launch", image.Hash)
	}
	if image.Launched(vm.Register{1}) {
		t.Error("the image explains another launch")
	}
}

// A machine that names a good image and describes another one is caught by the
// chain of digests.
func TestOSImageChain(t *testing.T) {
	a, err := peer.ParseAttestation(container(t, "sev-snp-attestation.json"))
	if err != nil {
		t.Fatal(err)
	}
	config := string(a.VMConfig)
	for name, changed := range map[string]string{
		"another name":     strings.Replace(config, "f69c8e50", "f69c8e51", 1),
		"another document": strings.Replace(config, "qGd2ZXJzaW9u", "qGd2ZXJzaW9v", 1),
		"another checksum": strings.Replace(config, "MDdjMjlk", "MDdjMjll", 1),
		"an unknown CPU":   strings.Replace(config, "EPYC-v4", "EPIC-v4", 1),
		"not base64":       strings.Replace(config, "qGd2ZXJzaW9u", "!Gd2ZXJzaW9u", 1),
	} {
		if changed == config {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := peer.ParseOSImage([]byte(changed)); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	for _, none := range []string{"", "x", "{}", `{"os_image_hash":"00"}`} {
		if image, err := peer.ParseOSImage([]byte(none)); image != nil || err != nil {
			t.Errorf("%q: %v, %v", none, image, err)
		}
	}
	// More CPUs than the machine says are another launch, and a huge number ends.
	many := bytes.Replace(a.VMConfig, []byte(`\"vcpus\":2`), []byte(`\"vcpus\":2000000000`), 1)
	if image, err := peer.ParseOSImage(many); err != nil || image.Launched(vm.Register{}) {
		t.Errorf("%v", err)
	}
}

func FuzzParseOSImage(f *testing.F) {
	f.Add([]byte(`{"os_image_hash":"` + strings.Repeat("0", 64) + `","tdx_measurement":{}}`))
	if a, err := peer.ParseAttestation(container(f, "sev-snp-attestation.json")); err == nil {
		f.Add(a.VMConfig)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		image, err := peer.ParseOSImage(b)
		if err != nil && vm.CodeOf(err) == vm.CodeInternal {
			t.Fatal(err)
		}
		if image != nil {
			_ = image.Launched(vm.Register{})
		}
	})
}
