package vm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KMS names the key manager whose keys a machine accepts. The fields after the
// second are left out where they say nothing, so that a config of the common
// kind has the same bytes as ever.
type KMS struct {
	ChainID  string     `json:"chain_id"`
	GroupKey string     `json:"group_key"`          // hex of the 96-byte compressed BLS12-381 G2 point; empty: see Provider
	Epoch    uint64     `json:"epoch,omitempty"`    // of the group key
	Previous []EpochKey `json:"previous,omitempty"` // earlier epochs that are not closed, newest first
	Provider string     `json:"provider,omitempty"` // empty: kmsd; else ProviderSecretNetwork
	Contract *Contract  `json:"contract,omitempty"` // of that provider
}

// EpochKey is the group key of an earlier epoch.
type EpochKey struct {
	Epoch    uint64 `json:"epoch"`
	GroupKey string `json:"group_key"`
}

// ProviderSecretNetwork is the key manager contract of existing SecretVM
// machines. Config.Service is then "<contract address>/<service id>". What it
// does not give is listed by Weaknesses.
const ProviderSecretNetwork = "secret-network"

// Contract pins what a machine would otherwise have to believe its host about
// the contract.
type Contract struct {
	CodeHash     string `json:"code_hash"`     // SHA-256 of the contract's code, hex: another code cannot read the question
	ConsensusKey string `json:"consensus_key"` // X25519 public key of the network's enclaves for transactions and queries, hex
}

// MaxPrevious bounds KMS.Previous.
const MaxPrevious = 8

var contractPattern = Pattern(`^secret1[02-9ac-hj-np-z]{38,58}/`)

// Validate reports the first field that has no meaning for a service.
func (k KMS) Validate(service string) error {
	if !chainPattern(k.ChainID) {
		return fmt.Errorf("kms.chain_id is %q", k.ChainID)
	}
	switch k.Provider {
	case "":
		if k.Contract != nil {
			return errors.New("kms.contract is for another provider")
		}
		return k.validateGroup()
	case ProviderSecretNetwork:
		switch {
		case k.GroupKey != "" || k.Epoch != 0 || k.Previous != nil:
			return fmt.Errorf("kms.provider %s has no group key", k.Provider)
		case k.Contract == nil || !isHex(k.Contract.CodeHash, 32) || !isHex(k.Contract.ConsensusKey, 32):
			return fmt.Errorf("kms.contract of provider %s names no code hash and consensus key of 32 bytes in lower-case hex", k.Provider)
		case !contractPattern(service):
			return fmt.Errorf("service is %q, want <contract address>/<service id> with provider %s", service, k.Provider)
		}
		return nil
	default:
		return fmt.Errorf("kms.provider is %q, want %s or nothing", k.Provider, ProviderSecretNetwork)
	}
}

func (k KMS) validateGroup() error {
	if !isHex(k.GroupKey, 96) {
		return errors.New("kms.group_key is not the lower-case hex of a 96-byte group key")
	}
	if len(k.Previous) > MaxPrevious || k.Previous != nil && len(k.Previous) == 0 {
		return fmt.Errorf("kms.previous has %d epochs, want 1 to %d or no such field", len(k.Previous), MaxPrevious)
	}
	newer := k.Epoch
	for _, p := range k.Previous {
		if p.Epoch >= newer || !isHex(p.GroupKey, 96) {
			return fmt.Errorf("kms.previous: epoch %d does not come before %d, or its group key is not the lower-case hex of 96 bytes", p.Epoch, newer)
		}
		newer = p.Epoch
	}
	return nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}

// Weaknesses says, a line each, what a machine gives up with its key manager
// compared with a kmsd chain, for whoever chooses it or judges such a machine.
func (k KMS) Weaknesses() []string {
	if k.Provider != ProviderSecretNetwork {
		return nil
	}
	return []string{
		"one secret in every enclave of the network: who breaks one enclave of it, anywhere, can make this machine's disk key",
		"whoever administers the service on the contract can admit another image at once; nobody is told before",
		"the contract gives keys to machines in debug mode, and to registers left out of its filters",
		"a quote never grows old for it: the same evidence asks again, for ever",
		"it counts no disk generations: a host can put back an old copy of the disk, or a blank one, unseen",
	}
}

var envPattern = Pattern(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// MaxEnv bounds Config.Env.
const MaxEnv = 256

// ReservedEnv reports whether a variable steers the programs that run a
// workload instead of the workload, and so cannot be its owner's to set.
func ReservedEnv(name string) bool {
	for _, prefix := range []string{"COMPOSE_", "DOCKER_", "BUILDKIT_", "BUILDX_", "LD_", "OTEL_", "SSL_CERT_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch strings.ToUpper(name) {
	case "GOGC", "GOMEMLIMIT", "GODEBUG", "GOMAXPROCS", "GOTRACEBACK", "PATH", "HOME", "TMPDIR", "PWD", "SHELL", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY":
		return true
	}
	return false
}

// CheckEnv refuses what is no name of a variable that an owner may set.
func CheckEnv(name string) error {
	switch {
	case !envPattern(name):
		return fmt.Errorf("env names %q, want letters, digits and underscores", name)
	case ReservedEnv(name):
		return fmt.Errorf("env names %s, which would steer the container engine", name)
	}
	return nil
}

func validateEnv(names []string) error {
	if len(names) > MaxEnv || names != nil && len(names) == 0 {
		return fmt.Errorf("env names %d variables, want 1 to %d or no such field", len(names), MaxEnv)
	}
	for i, name := range names {
		if err := CheckEnv(name); err != nil {
			return err
		}
		if i > 0 && names[i-1] >= name {
			return fmt.Errorf("env is %q, want a sorted list without repetition", names)
		}
	}
	return nil
}
