package node

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/signer"
)

// shareFile is the format of a file in shares/.
type shareFile struct {
	Epoch    uint64 `json:"epoch"`
	Round    uint64 `json:"round"` // that made the sharing; 0: genesis
	Index    uint32 `json:"index"`
	Scalar   string `json:"scalar"`    // hex, 32 bytes, secret
	GroupKey string `json:"group_key"` // whose share it is
}

// writeShare keeps the share that a sharing gave this node.
func (h Home) writeShare(s keys.Share, g types.Group) error {
	b, err := json.Marshal(shareFile{g.Epoch, g.Round, s.Index, hex.EncodeToString(s.Bytes()), g.Key()})
	if err != nil {
		return fmt.Errorf("encode share: %w", err)
	}
	return signer.WriteFile(h.share(g.Epoch, g.Round), append(b, '\n'))
}

// readShare reads the share of a sharing and holds it to the commitments, so
// that a node with a wrong share says so, and not in answers that do not verify.
func (h Home) readShare(g types.Group) (keys.Share, error) {
	path := h.share(g.Epoch, g.Round)
	b, err := signer.ReadPrivate(path)
	if err != nil {
		return keys.Share{}, err
	}
	var f shareFile
	if err := json.Unmarshal(b, &f); err != nil {
		return keys.Share{}, fmt.Errorf("%s is not what a node writes", path)
	}
	scalar, err := hex.DecodeString(f.Scalar)
	if err != nil {
		return keys.Share{}, fmt.Errorf("%s holds no share", path)
	}
	s, err := keys.ParseShare(f.Index, scalar)
	clear(scalar)
	if err != nil {
		return keys.Share{}, fmt.Errorf("read %s: %w", path, err)
	}
	commitments, err := g.Parse()
	if err != nil {
		return keys.Share{}, err
	}
	if err := commitments.Verify(s); err != nil {
		return keys.Share{}, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}
