package node

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cosmos/gogoproto/proto"

	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// await waits until the ledger's nodes are as wanted.
func (c *cast) await(t *testing.T, what string, done func(nodes []committee.Node, groups []committee.Group) bool) {
	t.Helper()
	var nodes committee.QueryNodesResponse
	var epochs committee.QueryEpochsResponse
	var round committee.QueryRoundResponse
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		c.nodes[0].ask(t, "nodes", &nodes)
		c.nodes[0].ask(t, "epochs", &epochs)
		c.nodes[0].ask(t, "round", &round)
		if round.Round == nil && done(nodes.Nodes, epochs.Groups) {
			return
		}
	}
	t.Fatalf("%s: not after a minute: %+v, round %+v", what, nodes.Nodes, round.Round)
}

// ask reads x/committee's state by REST.
func (s *station) ask(t *testing.T, what string, into proto.Message) {
	t.Helper()
	encoding, err := chain.NewEncoding()
	must(t, err)
	answer, err := http.Get(s.url + "/secretvm/committee/v1/" + what)
	must(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	must(t, err)
	into.Reset()
	if err := encoding.Codec.UnmarshalJSON(b, into); err != nil {
		t.Fatalf("%s: %v: %s", what, err, b)
	}
}

// joiner starts a node that the chain does not know yet.
func (c *cast) joiner(t *testing.T) (*station, Joiner) {
	t.Helper()
	genesis, err := os.ReadFile(c.nodes[0].home.genesis())
	must(t, err)
	ports, err := choosePorts(0, 2)
	must(t, err)
	s := &station{home: Home(filepath.Join(t.TempDir(), "node")), pki: c.pki, logs: &lockedBuffer{}}
	j, err := Prepare(s.home, JoinOptions{Genesis: genesis, Listen: address(ports[0]), PeerListen: address(ports[1])})
	must(t, err)
	if _, err := Prepare(s.home, JoinOptions{Genesis: genesis}); vm.CodeOf(err) != vm.CodeExists {
		t.Errorf("a home was made twice: %v", err)
	}
	s.launch(t)
	if s.url == "" {
		t.Fatalf("the joiner is not ready: %s", s.logs)
	}
	return s, j
}

// TestK4SharesMoveAndTheKeyStays: nodes join, leave, are put out and change their
// keys; machines notice nothing, and who left keeps nothing of use.
func TestK4SharesMoveAndTheKeyStays(t *testing.T) {
	c := newCast(t, 4)
	first := c.nodes[0]
	owner, err := first.home.Owner()
	must(t, err)
	var status wire.Status
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, first.url, wire.PathStatus, nil, &status))
	first.made = Made{Owner: owner.Address, ChainID: c.made.ChainID, GroupKey: status.GroupKey}
	first.mates = c.nodes[1:]
	cfg := first.service(t)
	_, before := first.disk(t, cfg)

	// A fifth joins, without evidence, as this chain's genesis allows its authority.
	fifth, j := c.joiner(t)
	if err := first.send(t, j.Message(owner.Address, owner.Address)); err != nil {
		t.Fatal(err)
	}
	c.await(t, "join", func(nodes []committee.Node, groups []committee.Group) bool {
		return len(nodes) == 5 && nodes[4].Status == committee.NodeActive && len(groups[0].Members) == 5 && groups[0].Threshold() == 4
	})
	first.mates = append(first.mates, fifth)

	// The second changes its keys: another process, another home, the same index.
	second, k := c.joiner(t)
	rotate := &committee.MsgRotate{Sender: owner.Address, Index: 2, Relay: k.Relay, ConsensusKey: k.ConsensusKey, SealingKey: k.SealingKey}
	must(t, first.send(t, rotate))
	c.await(t, "rotate", func(nodes []committee.Node, groups []committee.Group) bool {
		return nodes[1].Next == nil && nodes[1].Identity.Relay == k.Relay && len(groups[0].Members) == 5
	})
	must(t, c.nodes[1].stop())
	must(t, first.send(t, &committee.MsgAddress{Sender: owner.Address, Index: 2, Api: k.API, Peer: k.Peer}))

	// The third leaves, the fourth is put out.
	must(t, first.send(t, &committee.MsgLeave{Sender: owner.Address, Index: 3}))
	c.await(t, "leave", func(nodes []committee.Node, groups []committee.Group) bool {
		return len(nodes) == 4 && len(groups[0].Members) == 4 && groups[0].Threshold() == 3
	})
	must(t, first.send(t, &committee.MsgRemove{Authority: owner.Address, Index: 4, Reason: "it was seen elsewhere"}))
	c.await(t, "remove", func(nodes []committee.Node, groups []committee.Group) bool {
		return len(nodes) == 3 && len(groups[0].Members) == 3
	})
	must(t, c.nodes[2].stop())
	must(t, c.nodes[3].stop())

	// The key is what it was, made by three of which one was there at first.
	first.mates = []*station{second, fifth}
	_, after := first.disk(t, cfg)
	if after != before {
		t.Error("the key changed with the nodes")
	}

	// Another epoch is another key; the first can be closed then, once.
	must(t, first.send(t, &committee.MsgOpenEpoch{Authority: owner.Address}))
	c.await(t, "epoch", func(_ []committee.Node, groups []committee.Group) bool { return len(groups) == 2 })
	must(t, first.send(t, &committee.MsgCloseEpoch{Authority: owner.Address, Epoch: 0}))
	if err := first.send(t, &committee.MsgCloseEpoch{Authority: owner.Address, Epoch: 1}); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("the only key was closed: %v", err)
	}
	c.await(t, "close", func(_ []committee.Node, groups []committee.Group) bool {
		return len(groups) == 1 && groups[0].Epoch == 1
	})
	c.wiped(t, first)
}

// wiped waits until a home holds shares of the present group alone.
func (c *cast) wiped(t *testing.T, s *station) {
	t.Helper()
	var names []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join(string(s.home), "shares"))
		must(t, err)
		names = names[:0]
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if len(names) == 1 {
			return
		}
	}
	t.Errorf("shares of before were not wiped: %v", names)
}

// TestK4OnlyTheAuthorityBringsNodes: strangers bring none, nor does evidence
// count where no service is named.
func TestK4OnlyTheAuthorityBringsNodes(t *testing.T) {
	c := newCast(t, 4)
	stranger := c.nodes[1] // an operator, of its own node only
	other, err := stranger.home.Owner()
	must(t, err)
	_, j := c.joiner(t)
	if err := stranger.send(t, j.Message(other.Address, other.Address)); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("an operator that is not named brought a node: %v", err)
	}
	if err := stranger.send(t, &committee.MsgLeave{Sender: other.Address, Index: 1}); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("another's node left: %v", err)
	}
	if err := stranger.send(t, &committee.MsgOpenEpoch{Authority: other.Address}); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("a stranger opened an epoch: %v", err)
	}
}
