package compose

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
	"go.yaml.in/yaml/v3"
)

// Manager is the key manager that a compose file chooses instead of a kmsd
// chain: a contract of existing machines. The file pins all of it; where the
// network's nodes are is the host's to say.
type Manager struct {
	KMS     vm.KMS // provider, chain id, code hash and consensus key
	Address string // of the contract
}

// Service is the id under which the contract knows the service called name.
func (m Manager) Service(name string) string { return m.Address + "/" + name }

// readManager reads the block kms.
func readManager(to **Manager) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		m := Manager{KMS: vm.KMS{Contract: &vm.Contract{}}}
		err := readFields("kms", n,
			field{"provider", readText(&m.KMS.Provider, vm.ProviderSecretNetwork)},
			field{"chain_id", readText(&m.KMS.ChainID)},
			field{"contract", readText(&m.Address)},
			field{"code_hash", readText(&m.KMS.Contract.CodeHash)},
			field{"consensus_key", readText(&m.KMS.Contract.ConsensusKey)},
		)
		if err != nil {
			return err
		}
		for _, f := range []struct{ name, value string }{
			{"provider", m.KMS.Provider},
			{"chain_id", m.KMS.ChainID},
			{"contract", m.Address},
			{"code_hash", m.KMS.Contract.CodeHash},
			{"consensus_key", m.KMS.Contract.ConsensusKey},
		} {
			if f.value == "" {
				return at(n, "%s is missing: a machine that chooses another key manager pins all of it", f.name)
			}
		}
		if err := m.KMS.Validate(m.Service("x")); err != nil {
			return at(n, "%v", err)
		}
		*to = &m
		return nil
	}
}

// checkManager refuses a config whose key manager is another than the file's:
// who reads the file would expect another one than the machine obeys.
func (s Settings) checkManager(service string, kms vm.KMS) error {
	switch {
	case s.Manager == nil && kms.Provider == "":
		return nil
	case s.Manager == nil:
		return fmt.Errorf("the compose file chooses no provider %s: add %s.kms", kms.Provider, SettingsKey)
	case kms.Provider != s.Manager.KMS.Provider || kms.ChainID != s.Manager.KMS.ChainID || kms.Contract == nil ||
		*kms.Contract != *s.Manager.KMS.Contract || service != s.Manager.Service(s.Service):
		return fmt.Errorf("the compose file chooses the key manager contract %s (%s.kms), not this one", s.Manager.Address, SettingsKey)
	}
	return nil
}
