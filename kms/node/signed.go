package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/config"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/privval"

	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// signed is the file that says what this home's validator signed last, so that it
// never signs two different things for the same place. It is not in data/, as
// CometBFT has it: data is copied from other homes and put back from backups, and
// a validator that forgets what it signed would say it again, differently.
const signed = "keys/signed.json"

// openValidator reads the validator's key and what it signed last. Homes of
// before have that in data/: it is moved, once.
func openValidator(c *config.Config) (*privval.FilePV, error) {
	path, former := c.PrivValidatorStateFile(), filepath.Join(c.DBDir(), "priv_validator_state.json")
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		var b []byte
		if b, err = os.ReadFile(former); err == nil {
			err = signer.WriteFile(path, b)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, vm.Refuse(vm.CodeInvalid, "%s is missing, so nobody knows what this validator has signed", path).
			Try(`put it back; if it is lost for good, stop, wait until the others are some blocks further, and write {"height":"0","round":0,"step":0} there`)
	}
	if err != nil {
		return nil, fmt.Errorf("read what this validator signed last: %w", err)
	}
	// The library ends the process over a file that it cannot read.
	for file, into := range map[string]any{path: &privval.FilePVLastSignState{}, c.PrivValidatorKeyFile(): &privval.FilePVKey{}} {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the validator: %w", err)
		}
		if err := cmtjson.Unmarshal(b, into); err != nil {
			return nil, fmt.Errorf("read the validator: %s is not what a node writes: %w", file, err)
		}
	}
	return privval.LoadFilePV(c.PrivValidatorKeyFile(), path), nil
}

// remembers refuses data that is older than what this validator signed, where
// nobody is there from whom to get the blocks since: it would wait for ever.
func remembers(n *cmtnode.Node, v *privval.FilePV) error {
	have, set := n.BlockStore().Height(), n.EvidencePool().State().Validators
	if v.LastSignState.Height <= have+1 || set.Size() != 1 || !set.HasAddress(v.GetAddress()) {
		return nil
	}
	return vm.Refuse(vm.CodeInvalid, "the data of this chain's only node ends with block %d, and its validator signed block %d: an older copy was put back", have, v.LastSignState.Height).
		Try("put back the newest data; if there is none, remove keys/signed.json, write {\"height\":\"0\",\"round\":0,\"step\":0} there, and everything since is lost")
}
