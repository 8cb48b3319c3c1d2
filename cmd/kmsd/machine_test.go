package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// boot runs the containers' API of an emulated machine and returns its socket.
func (k *kmsd) boot(cfg vm.Config, grants ...string) string {
	k.t.Helper()
	at := launch
	var err error
	at.MRConfigID, err = cfg.ConfigID()
	must(k.t, err)
	events, err := vm.BootEvents(root, cfg)
	must(k.t, err)
	m, err := emulator.New(k.pki, at)
	must(k.t, err)
	for _, e := range events {
		_, err := m.Extend(e.Register, e.Digest)
		must(k.t, err)
	}
	server, err := api.New(api.Options{Machine: proof.New(quoter{m}, cfg), TEE: vm.Soft, Config: cfg, Events: events})
	must(k.t, err)
	dir, err := os.MkdirTemp("", "kmsd") // t.TempDir's paths are too long for a socket
	must(k.t, err)
	k.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	must(k.t, err)
	go server.Serve(k.t.Context(), "kmsd", l)
	return socket
}

// committee reads the nodes, and who holds the key of epoch 0.
func (k *kmsd) committee() (nodes committee.QueryNodesResponse, holders []uint32) {
	k.t.Helper()
	encoding, err := chain.NewEncoding()
	must(k.t, err)
	var raw json.RawMessage
	k.run(0, &raw, "query", "committee", "nodes")
	must(k.t, encoding.Codec.UnmarshalJSON(raw, &nodes))
	var epochs committee.QueryEpochsResponse
	k.run(0, &raw, "query", "committee", "epochs")
	must(k.t, encoding.Codec.UnmarshalJSON(raw, &epochs))
	for _, g := range epochs.Groups {
		for _, m := range g.Members {
			holders = append(holders, m.Index)
		}
	}
	return nodes, holders
}

func (k *kmsd) awaitHolders(want ...uint32) {
	k.t.Helper()
	var holders []uint32
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if _, holders = k.committee(); len(holders) == len(want) && holders[len(holders)-1] == want[len(want)-1] {
			return
		}
	}
	k.t.Fatalf("holders of the key are %v after 90 seconds, want %v", holders, want)
}

// setParams changes the committee's parameters as their authority does.
func (k *kmsd) setParams(code int, change func(map[string]any)) (said vm.Refusal) {
	k.t.Helper()
	var answer struct {
		Params map[string]any `json:"params"`
	}
	k.run(0, &answer, "query", "committee", "params")
	change(answer.Params)
	b, err := json.Marshal(answer.Params)
	must(k.t, err)
	var out any = &said
	if code == 0 {
		out = nil
	}
	k.run(code, out, "tx", "committee", "update-params", "--params", string(b))
	return said
}

// TestNodeInAMachine is the life of a node that is a machine, in real
// processes: a chain of one founder, which nobody has checked; a machine of the
// node service's image, which starts a node, proves what it runs and gets a
// share; then the founder goes, and every node there is has been checked. The
// machine's keys are the same all the while.
func TestNodeInAMachine(t *testing.T) {
	k := newKmsd(t)
	dir := t.TempDir()
	rootFile := filepath.Join(dir, "dev-root.pem")
	must(t, os.WriteFile(rootFile, k.pki.RootPEM(), 0o600))
	var founded node.MadeTestnet
	k.run(0, &founded, "testnet", "--nodes", "1", "--first-port", "0", "--dir", filepath.Join(dir, "kms"), "--trust-root", rootFile)
	k.home = filepath.Join(dir, "kms", "node1")
	k.start()
	var status wire.Status
	k.run(0, &status, "status")
	cfg := k.registerNode(node.Made{ChainID: status.ChainID, GroupKey: status.GroupKey, Owner: founded.Owner})
	diskKey, _ := k.disk(k.url(), cfg)

	// The node starts in its machine, with nothing but the seed and the genesis.
	var genesis json.RawMessage
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, k.url(), wire.PathGenesis, nil, &genesis))
	second := &kmsd{t: t, home: filepath.Join(dir, "second"), pki: k.pki}
	ports := [2]string{freePort(t), freePort(t)}
	join := []string{"start", "--join", k.url(), "--listen", ports[0], "--peer-listen", ports[1], "--profile", "local"}
	if said := second.run(exitUsage, nil, join...); !strings.Contains(said, "--genesis-sha256") {
		t.Errorf("a node believes the seed: %s", said)
	}
	var refused vm.Refusal
	second.run(1, &refused, append(join, "--genesis-sha256", strings.Repeat("0", 64))...)
	if refused.Code != vm.CodeSignature || node.Home(second.home).Exists() {
		t.Errorf("another genesis: %+v", refused)
	}
	process := second.command(append(join, "--genesis-sha256", vm.HashOf(genesis).String(), "--evidence", k.boot(cfg))...)
	var log strings.Builder
	process.Stderr = &log
	must(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		if t.Failed() {
			t.Logf("the second node said:\n%s", log.String())
		}
	})
	url := "http://" + ports[0]
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var s wire.Status
		if err := wire.Call(t.Context(), http.DefaultClient, http.MethodGet, url, wire.PathStatus, nil, &s); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the second node does not follow the chain: %v", err)
		}
	}

	// It is admitted by what it proves, and only once the authority says whose
	// machines are nodes.
	admit := []string{"tx", "committee", "admit", url, "--peer", ports[1]}
	k.run(1, &refused, admit...)
	if refused.Code != vm.CodeInvalid || !strings.Contains(refused.Reason, "name no service") {
		t.Errorf("before there is a node service: %+v", refused)
	}
	k.setParams(0, func(p map[string]any) { p["node_service"] = cfg.Service })
	if k.run(1, &refused, "tx", "committee", "admit", k.url()); refused.Code != vm.CodeInvalid || !strings.Contains(refused.Reason, "--evidence") {
		t.Errorf("a node that proves nothing: %+v", refused)
	}
	k.run(0, nil, admit...)
	k.awaitHolders(1, 2)
	nodes, _ := k.committee()
	if len(nodes.Nodes) != 2 || !nodes.Nodes[1].Identity.Attested || nodes.Nodes[0].Identity.Attested || !strings.HasSuffix(nodes.Nodes[1].Peer, "@"+ports[1]) || nodes.Nodes[1].Api != url {
		t.Errorf("nodes are %+v", nodes.Nodes)
	}
	if said := k.setParams(1, func(p map[string]any) { p["unattested_nodes"] = false }); said.Code != vm.CodeInvalid {
		t.Errorf("unattested nodes were ruled out while there is one: %+v", said)
	}

	// It gives its share back, and the same machine with the same home is admitted
	// again, as every machine is that was off.
	k.run(0, nil, "tx", "committee", "leave", "--index", "2")
	k.awaitHolders(1)
	k.run(0, nil, admit...)
	k.awaitHolders(1, 2)

	// The founder goes. What is left has been checked, all of it.
	k.run(0, nil, "tx", "committee", "leave", "--index", "1")
	k.awaitHolders(2)
	k.setParams(0, func(p map[string]any) { p["unattested_nodes"] = false })
	var after wire.Status
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, url, wire.PathStatus, nil, &after))
	if len(after.Warnings) != 0 || len(after.Nodes) != 1 || !after.Nodes[0].Attested || !after.GroupKey.Equal(status.GroupKey) {
		t.Errorf("status is %+v", after)
	}
	again, _ := k.disk(url, cfg)
	if again != diskKey {
		t.Error("the machine gets another disk key from the nodes that are left")
	}
}

// registerNode registers the service and image of machines that are nodes.
func (k *kmsd) registerNode(made node.Made) vm.Config {
	k.t.Helper()
	cfg := k.register(made)
	cfg.API = vm.API{"kmsd": {vm.GrantInfo, vm.GrantQuote}}
	template, err := cfg.Template().Canonical()
	must(k.t, err)
	file := filepath.Join(k.t.TempDir(), "node.json")
	text, err := json.Marshal(map[string]any{
		"mrtd": launch.MRTD, "rtmr0": launch.RTMR[0], "rtmr1": launch.RTMR[1], "rtmr2": launch.RTMR[2],
		"description": "node", "root_hash": root, "template": json.RawMessage(template),
	})
	must(k.t, err)
	must(k.t, os.WriteFile(file, text, 0o600))
	k.run(0, nil, "tx", "kms", "add-image", "web", "--image", file)
	return cfg
}

// url is that of the node that runs in the home.
func (k *kmsd) url() string {
	k.t.Helper()
	url, err := node.Home(k.home).Endpoint()
	must(k.t, err)
	return url
}

// freePort returns an address of loopback that nobody listens on right now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return "127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
