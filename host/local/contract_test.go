package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

const contractWorkload = `x-secretvm:
  service: guestbook
  kms:
    provider: secret-network
    chain_id: secret-4
    contract: secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as
    code_hash: 5c36abd74f5959dd9e8bcecb2ea308befeaff2a50b9bcbd2338c079266f9f0bf
    consensus_key: efdfbee583877e6d12c219695030a5bfb72e0a3abdc416655aa4a30c95a4446f
services:
  web: { image: "a@sha256:2414de374c9c933e341f8a8e86b2061b853a1c168254d3bd43bbeaeefbd81625" }
`

// A workload that chooses the contract of existing machines: no KMS is started,
// the weaknesses are said, the machine's config pins the contract, and what the
// administrators have to send is about this very machine. The other half, that a
// machine with such a config gets its keys, is in kms/secretnetwork.
func TestUpWithAContract(t *testing.T) {
	in := installation(t, t.TempDir(), "good")
	w, err := compose.Parse([]byte(contractWorkload), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Path = "docker-compose.yaml"
	in.o.Workload = w
	in.o.KMSURLs = []string{"http://127.0.0.1:1317", "https://lcd.example.test"}
	var warned []string
	in.o.Warn = func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }
	if err := in.o.Check(); err != nil {
		t.Fatal(err)
	}
	if err := in.startWithoutImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(in.kms.folder); err == nil {
		t.Error("a KMS was made")
	}
	disk, err := os.Open(filepath.Join(in.folder.Dir(), "config.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	archive, err := configdisk.ReadArchive(disk)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := archive.Open()
	if err != nil || cfg.KMS.Provider != vm.ProviderSecretNetwork || cfg.Service != w.Settings.Manager.Address+"/guestbook" || *cfg.KMS.Contract != *w.Settings.Manager.KMS.Contract {
		t.Errorf("config is %+v, %v", cfg, err)
	}
	if want := []string{"http://" + guestGateway + ":1317", "https://lcd.example.test"}; !slices.Equal(archive.Hints.KMS, want) {
		t.Errorf("the machine is told of %q, want %q", archive.Hints.KMS, want)
	}
	said := strings.Join(warned, "\n")
	for _, weakness := range cfg.KMS.Weaknesses() {
		if !strings.Contains(said, weakness) {
			t.Errorf("up does not say %q", weakness)
		}
	}
	if !strings.Contains(said, "no keys") {
		t.Errorf("up does not say that the soft TEE gets no keys: %q", said)
	}

	// The request names what this machine will quote.
	text, err := os.ReadFile(filepath.Join(in.folder.Dir(), "contract.json"))
	if err != nil {
		t.Fatal(err)
	}
	var request struct {
		Add struct {
			Service string `json:"service_id"`
			Filter  map[string][]int
		} `json:"add_image_to_service"`
	}
	if err := json.Unmarshal([]byte(strings.Replace(string(text), `"image_filter"`, `"Filter"`, 1)), &request); err != nil {
		t.Fatal(err)
	}
	events, err := vm.BootEvents(in.image.Manifest.Verity.RootHash, cfg)
	if err != nil {
		t.Fatal(err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	id, err := cfg.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]vm.Register{"rtmr3": rtmr[3], "mr_config_id": id, "rtmr1": {}, "rtmr2": {}} {
		got := request.Add.Filter[name]
		if len(got) != len(want) || !slices.EqualFunc(got, want[:], func(a int, b byte) bool { return a == int(b) }) {
			t.Errorf("the filter's %s is %v, want %s", name, got, want)
		}
	}
	if request.Add.Service != "guestbook" || !strings.Contains(string(text), `"mr_td"`) {
		t.Errorf("request is %s", text)
	}

	var stopped names
	if err := in.Down(t.Context(), &stopped); err != nil || !slices.Equal(stopped.done, []string{"power off"}) {
		t.Errorf("down: %v, %v", stopped, err)
	}
}

func TestContractFlags(t *testing.T) {
	chosen, err := compose.Parse([]byte(contractWorkload), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no URL":      {func(o *Options) { o.Workload = chosen }, "--kms-url"},
		"nodes":       {func(o *Options) { o.Workload, o.KMSURLs, o.KMSNodes = chosen, []string{"http://a"}, 4 }, "--kms-nodes is for"},
		"not chosen":  {func(o *Options) { o.KMSURLs = []string{"http://a"} }, "x-secretvm.kms"},
		"many, chain": {func(o *Options) { o.KMSNodes = 17 }, "want 1 to 16"},
	} {
		o := installation(t, t.TempDir(), "good").o
		tc.change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
