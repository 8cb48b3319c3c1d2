package node

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/signer"
)

// makeNode draws the keys of a node: the account that it signs with, the key
// that shares are sealed to, the validator's and the peer's.
func (h Home) makeNode() (committee.Node, error) {
	var node committee.Node
	for _, dir := range []string{"config", "data", "keys", "shares", "rounds"} {
		if err := os.MkdirAll(filepath.Join(string(h), dir), 0o700); err != nil {
			return node, fmt.Errorf("make the home: %w", err)
		}
	}
	relay, err := signer.New()
	if err != nil {
		return node, err
	}
	if err := relay.Save(h.relay()); err != nil {
		return node, err
	}
	sealing, err := keys.NewRecipient()
	if err != nil {
		return node, err
	}
	if err := writeSealing(h.sealing(), sealing); err != nil {
		return node, err
	}
	config := h.cometConfig(DefaultTiming)
	if _, err := p2p.LoadOrGenNodeKey(config.NodeKeyFile()); err != nil {
		return node, fmt.Errorf("make the peer key: %w", err)
	}
	validator := privval.LoadOrGenFilePV(config.PrivValidatorKeyFile(), config.PrivValidatorStateFile())
	public, err := validator.GetPubKey()
	if err != nil {
		return node, fmt.Errorf("make the validator key: %w", err)
	}
	node.Identity = committee.Identity{Relay: relay.Address, ConsensusKey: public.Bytes(), SealingKey: sealing.Public()}
	return node, nil
}

// validators are the first validators as the genesis file names them.
func validators(nodes []committee.Node) []cmttypes.GenesisValidator {
	var out []cmttypes.GenesisValidator
	for _, n := range nodes {
		key := ed25519.PubKey(n.Identity.ConsensusKey)
		out = append(out, cmttypes.GenesisValidator{Address: key.Address(), PubKey: key, Power: committee.Power, Name: fmt.Sprintf("node %d", n.Index)})
	}
	return out
}

// sealingFile is the format of keys/sealing.json.
type sealingFile struct {
	Public string `json:"public"` // hex
	Secret string `json:"secret"` // hex of keys.Recipient.Bytes
}

func writeSealing(path string, r *keys.Recipient) error {
	secret, err := r.Bytes()
	if err != nil {
		return fmt.Errorf("encode the sealing key: %w", err)
	}
	defer clear(secret)
	b, err := json.Marshal(sealingFile{hex.EncodeToString(r.Public()), hex.EncodeToString(secret)})
	if err != nil {
		return fmt.Errorf("encode the sealing key: %w", err)
	}
	return signer.WriteFile(path, append(b, '\n'))
}

// readSealing reads the key that shares are sealed to.
func readSealing(path string) (*keys.Recipient, error) {
	b, err := signer.ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	var f sealingFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s is not what init writes", path)
	}
	secret, err := hex.DecodeString(f.Secret)
	if err != nil {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	defer clear(secret)
	r, err := keys.ParseRecipient(secret)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if hex.EncodeToString(r.Public()) != f.Public {
		return nil, fmt.Errorf("%s: the secret key is not that of the public one", path)
	}
	return r, nil
}
