package chain_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// TestK1NodesAreAdmittedByEvidence: a machine of the node service's image becomes
// a node; another one, another claim, or no evidence does not.
func TestK1NodesAreAdmittedByEvidence(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	m := boot(t, root, cfg)
	params := committee.DefaultParams(w.owner.Address)
	if code, _ := w.send(w.owner, &committee.MsgUpdateParams{Authority: w.owner.Address, Params: params}, &committee.MsgUpdateParamsResponse{}); code != vm.CodeInvalid {
		t.Errorf("nodes without evidence were ruled out while there is one: code %q", code)
	}
	params.NodeService, params.Operators, params.UnattestedNodes = cfg.Service, []string{w.other.Address}, true
	if code, text := w.send(w.owner, &committee.MsgUpdateParams{Authority: w.owner.Address, Params: params}, &committee.MsgUpdateParamsResponse{}); code != "" {
		t.Fatalf("name the node service: %s %s", code, text)
	}
	relay, err := signer.New()
	must(t, err)
	sealing, err := keys.NewRecipient()
	must(t, err)
	validator, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for _, tt := range []struct {
		name   string
		change func(*committee.MsgJoin)
		want   vm.Code
	}{
		{"no evidence", func(m *committee.MsgJoin) { m.Evidence = nil }, vm.CodePermission},
		{"other keys than quoted", func(m *committee.MsgJoin) { m.SealingKey = bytes.Clone(w.recipient(t)) }, vm.CodeReportData},
		{"another relay than quoted", func(m *committee.MsgJoin) { m.Relay = w.relay.Address }, vm.CodeExists},
		{"for another's node", func(m *committee.MsgJoin) { m.Operator = w.owner.Address }, vm.CodePermission},
		{"a block of another chain", func(m *committee.MsgJoin) { m.Evidence.BlockHash = make([]byte, 32) }, vm.CodeStale},
		{"another config than measured", func(m *committee.MsgJoin) { m.Evidence.Config = w.otherConfig(cfg) }, vm.CodeConfig},
		{"genuine", func(*committee.MsgJoin) {}, ""},
		{"again", func(*committee.MsgJoin) {}, vm.CodeExists},
	} {
		t.Run(tt.name, func(t *testing.T) {
			release := w.release(m) // for its block, config and events
			about := vm.Admission{
				ChainID: chainID, BlockHash: vm.Hash(release.BlockHash), InstanceID: release.VmUid,
				Operator: w.other.Address, Relay: relay.Address, ConsensusKey: validator, SealingKey: sealing.Public(),
			}
			evidence, err := m.Quote(about.ReportData())
			must(t, err)
			evidence.Events = m.events
			must(t, release.SetEvidence(evidence))
			join := &committee.MsgJoin{
				Sender: w.other.Address, Operator: about.Operator, Relay: about.Relay, ConsensusKey: about.ConsensusKey, SealingKey: about.SealingKey,
				Evidence: &committee.Evidence{
					VmUid: release.VmUid, Height: release.Height, BlockHash: release.BlockHash, Config: release.Config,
					Tee: release.Tee, Quote: release.Quote, Events: release.Events, Collateral: release.Collateral,
				},
			}
			tt.change(join)
			if code, text := w.send(w.other, join, &committee.MsgJoinResponse{}); code != tt.want {
				t.Errorf("code is %q (%s), want %q", code, text, tt.want)
			}
		})
	}
	ctx, err := w.app.Read()
	must(t, err)
	nodes, err := w.app.Committee.Nodes(ctx)
	must(t, err)
	if len(nodes) != 2 || !nodes[1].Identity.Attested || nodes[1].Status != committee.NodeJoining || nodes[1].Operator != w.other.Address {
		t.Errorf("nodes are %+v", nodes)
	}
	if refused := m.reportsRelease(w); refused {
		t.Error("a workload's quote passed for a release")
	}
}

// recipient draws a key that nothing was sealed to.
func (w *world) recipient(t *testing.T) []byte {
	t.Helper()
	r, err := keys.NewRecipient()
	must(t, err)
	return r.Public()
}

// otherConfig is the canonical form of a config that the machine did not measure.
func (w *world) otherConfig(cfg vm.Config) []byte {
	cfg.Open = nil
	b, err := cfg.Canonical()
	must(w.t, err)
	return b
}

// reportsRelease offers the chain a release whose quote a container asked for:
// whether that gets a key.
func (m *machine) reportsRelease(w *world) bool {
	release := w.release(m)
	about := vm.Release{
		ChainID: chainID, BlockHash: vm.Hash(release.BlockHash), InstanceID: release.VmUid, HPKEKey: release.HpkeKey, SessionKey: release.SessionKey,
	}
	data := about.ReportData()
	evidence, err := m.Quote(vm.WorkloadReportData(data[:]))
	must(w.t, err)
	evidence.Events = m.events
	must(w.t, release.SetEvidence(evidence))
	grant, _, _ := w.decide(release)
	return grant != nil
}
