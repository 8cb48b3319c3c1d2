package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/vm"
)

// A key manager of two machines: each is booted, told by the chain's owner which
// chain it is a node of, admitted, and named to the workload's machine; at the end
// they give their shares back before they are stopped. The programs are played;
// the real ones do this in test/e2e.
func TestUpWithNodesInMachines(t *testing.T) {
	state := t.TempDir()
	in := installation(t, state, "good")
	w, err := compose.Read("../../examples/kms-node")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(w.Compose), "--idle-interval="+machineIdle+" ") {
		t.Errorf("machines have another pace than their founder, %s", machineIdle)
	}
	in.o.KMSNodes, in.o.KMSIn = 2, InMachines
	in.o.NodeWorkload = func(context.Context, Note) (*compose.Workload, *oci.Store, error) {
		return w, &oci.Store{Dir: layoutFolder(t)}, nil
	}
	if err := in.o.Check(); err != nil {
		t.Fatal(err)
	}
	if err := in.prepare(); err != nil {
		t.Fatal(err)
	}
	// The firmware of this image cannot be predicted: machines of nodes are made of
	// the same image as the workload's, as it is here.
	in.openNodeImage = func() (Image, error) { return in.image, nil }
	if err := os.MkdirAll(in.kms.folder+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	steps := in.surroundings()[1:]
	if _, err := in.startKMS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.kms.stop(kmsGrace); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.kms.folder, "founder"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.start(t.Context(), steps); err != nil {
		t.Fatal(err)
	}

	home := in.kms.owner()
	founder := in.kms.urls()[0]
	sealed, err := os.ReadFile(filepath.Join(home, "sealed"))
	want := "KMSD_GENESIS=" + vm.HashOf([]byte(`{"chain_id": "test-1"}`)).String() + "\nKMSD_SEEDS=" + forGuest(founder) + "\n"
	if err != nil || string(sealed) != want {
		t.Errorf("the machines are told %q, %v, want %q", sealed, err, want)
	}
	var params struct {
		Service    string `json:"node_service"`
		Unattested bool   `json:"unattested_nodes"`
	}
	text, err := os.ReadFile(filepath.Join(home, "params"))
	if err != nil || json.Unmarshal(text, &params) != nil || params.Service != "svm1owner/kms-node" || !params.Unattested {
		t.Errorf("the chain's parameters are %s, %v", text, err)
	}
	disk, err := os.Open(filepath.Join(in.folder.Dir(), "config.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	archive, err := configdisk.ReadArchive(disk)
	if err != nil || len(in.nodes) != 2 || !slices.Equal(archive.Hints.KMS, []string{forGuest(founder), forGuest(in.nodes[0].api), forGuest(in.nodes[1].api)}) {
		t.Errorf("the machine is told of %q, %v", archive.Hints.KMS, err)
	}
	var ports []string
	for _, n := range in.nodes {
		ports = append(ports, n.api, n.peer)
		config, err := os.Open(filepath.Join(n.folder.Dir(), "config.img"))
		if err != nil {
			t.Fatal(err)
		}
		archive, err := configdisk.ReadArchive(config)
		config.Close()
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := archive.Open()
		if err != nil || cfg.Service != "svm1owner/kms-node" || !cfg.API.Allows("kmsd", vm.GrantQuote) || cfg.InstanceID == in.nodes[0].folder.Instance() != (n == in.nodes[0]) {
			t.Errorf("config of %s is %+v, %v", n.name, cfg, err)
		}
		again, err := keptPorts(filepath.Join(n.folder.Dir(), "ports.json"), nodePort, peerPort)
		if err != nil || !strings.HasSuffix(n.api, jsonNumber(again[nodePort])) || !strings.HasSuffix(n.peer, jsonNumber(again[peerPort])) {
			t.Errorf("%s has ports %v the next time, %v", n.name, again, err)
		}
	}
	if slices.Sort(ports); len(slices.Compact(ports)) != 4 {
		t.Errorf("ports are %q", ports)
	}
	if remark := in.reports.results()[2].Remark; in.reports.results()[2].Name != "kms shares" || !strings.HasPrefix(remark, "2 of 3 nodes are machines") {
		t.Errorf("step %q says %q", in.reports.results()[2].Name, remark)
	}

	var stopped names
	err = in.Down(t.Context(), &stopped)
	if err != nil || !slices.Equal(stopped.done, []string{"power off", "kms shares", "kms-node-2", "kms-node-1", "kms"}) {
		t.Errorf("down: %v, %v", stopped, err)
	}
	if left, err := os.ReadFile(filepath.Join(home, "left")); err != nil || string(left) != "2\n3\n" {
		t.Errorf("nodes that left are %q, %v", left, err)
	}
}

func jsonNumber(n int) string {
	b, _ := json.Marshal(n)
	return ":" + string(b)
}

// layoutFolder is an image layout without images.
func layoutFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNodeFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"nowhere": {func(o *Options) { o.KMSIn = "clouds" }, "want processes or vms"},
		"none":    {func(o *Options) { o.KMSIn = InMachines }, "--kms-nodes"},
		"tdx": {func(o *Options) {
			o.KMSIn, o.KMSNodes = InMachines, 2
			o.TEE = vm.TDX
		}, "soft TEE"},
	} {
		o := installation(t, t.TempDir(), "good").o
		tc.change(&o)
		if err := o.checkNodes(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	state := t.TempDir()
	in := installation(t, state, "good")
	if _, err := in.startKMS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Error(err)
	}
	in = installation(t, state, "good")
	in.o.KMSIn, in.o.KMSNodes = InMachines, 2
	if _, err := in.startKMS(t.Context()); err == nil || !strings.Contains(err.Error(), "others cannot join it") {
		t.Errorf("machines for a chain that listens to nobody: %v", err)
	}
}
