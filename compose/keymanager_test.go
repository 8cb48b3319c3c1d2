package compose

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const contractFile = `x-secretvm:
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

func TestTheFileChoosesAContract(t *testing.T) {
	w, err := Parse([]byte(contractFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := w.Settings.Manager
	if m == nil || m.KMS.Provider != vm.ProviderSecretNetwork || m.KMS.ChainID != "secret-4" || len(m.KMS.Contract.CodeHash) != 64 || len(m.KMS.Contract.ConsensusKey) != 64 {
		t.Fatalf("key manager is %+v", m)
	}
	cfg, err := w.Config(m.Service("guestbook"), m.KMS, testInstance)
	if err != nil || cfg.Service != "secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as/guestbook" || len(cfg.KMS.Weaknesses()) == 0 {
		t.Errorf("config is %+v, %v", cfg, err)
	}
	// Neither another contract nor a chain slips into the config of such a file,
	// nor the contract into that of another file.
	other := m.KMS
	other.Contract = &vm.Contract{CodeHash: strings.Repeat("0", 64), ConsensusKey: m.KMS.Contract.ConsensusKey}
	plain, err := Parse([]byte(pinnedFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		workload *Workload
		service  string
		kms      vm.KMS
	}{
		"a chain":          {w, "svm1abc/guestbook", testKMS},
		"another code":     {w, m.Service("guestbook"), other},
		"another service":  {w, m.Service("diary"), m.KMS},
		"file without kms": {plain, m.Service("guestbook"), m.KMS},
	} {
		if _, err := c.workload.Config(c.service, c.kms, testInstance); err == nil || !strings.Contains(err.Error(), "compose file chooses") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContractsThatAreNone(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"secret-network", "google", `"google" is not one of secret-network`},
		{"    chain_id: secret-4\n", "", "chain_id is missing"},
		{"    code_hash: 5c36", "    code_hash: 5C36", "code hash and consensus key of 32 bytes"},
		{"secret1w500", "cosmos1w500", "<contract address>/<service id>"},
		{"consensus_key", "consensus_keys", `no field "consensus_keys"`},
	} {
		_, err := Parse([]byte(strings.Replace(contractFile, c.from, c.to, 1)), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, want %q", c.to, c.from, err, c.want)
		}
	}
}
