package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/signer"
)

// roundFile is what a node drew for one round: rounds/<id>.json. Each part is
// written before what follows from it is sent, and never replaced, so that a
// node that is killed at any moment says the same again and never two things.
type roundFile struct {
	Round uint64 `json:"round"`
	Key   []byte `json:"key"`            // keys.Recipient.Bytes: shares are sealed to it
	Seed  []byte `json:"seed,omitempty"` // dkg.Seed: this node's polynomial follows from it
	Deal  []byte `json:"deal,omitempty"` // dkg.Deal.Encode: sealing is randomised, so it is kept
}

func (h Home) round(id uint64) string {
	return filepath.Join(h.rounds(), strconv.FormatUint(id, 10)+".json")
}

// readRound reads what was drawn for a round; os.ErrNotExist when nothing was.
func (h Home) readRound(id uint64) (roundFile, error) {
	var f roundFile
	b, err := signer.ReadPrivate(h.round(id))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil || f.Round != id {
		return f, fmt.Errorf("%s is not what a node writes", h.round(id))
	}
	return f, nil
}

func (h Home) writeRound(f roundFile) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode a round's secrets: %w", err)
	}
	defer clear(b)
	return signer.WriteFile(h.round(f.Round), b)
}

// openRound reads what was drawn for a round, or draws its key.
func (h Home) openRound(id uint64) (roundFile, error) {
	f, err := h.readRound(id)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	fresh, err := keys.NewRecipient()
	if err != nil {
		return f, err
	}
	f.Round = id
	if f.Key, err = fresh.Bytes(); err != nil {
		return f, err
	}
	return f, h.writeRound(f)
}

// dealer returns this node as a dealer of a round, and its one deal.
func (h Home) dealer(r dkg.Round, index uint32, share *keys.Share) (*dkg.Dealer, []byte, error) {
	f, err := h.openRound(r.Number)
	if err != nil {
		return nil, nil, err
	}
	var seed dkg.Seed
	if f.Seed == nil {
		if seed, err = dkg.NewSeed(rand.Reader); err != nil {
			return nil, nil, err
		}
		f.Seed = seed.Bytes()
	} else if seed, err = dkg.ParseSeed(f.Seed); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", h.round(r.Number), err)
	}
	defer seed.Wipe()
	dealer, err := r.NewDealer(index, seed, share)
	if err != nil || f.Deal != nil {
		return dealer, f.Deal, err
	}
	deal, err := dealer.Deal(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	f.Deal = deal.Encode()
	return dealer, f.Deal, h.writeRound(f)
}

// wipeRounds destroys what was drawn for rounds that keep does not want.
func (h Home) wipeRounds(keep func(uint64) bool) error {
	files, err := filepath.Glob(filepath.Join(h.rounds(), "*.json"))
	if err != nil {
		return fmt.Errorf("list the rounds: %w", err)
	}
	for _, path := range files {
		id, parseErr := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".json"), 10, 64)
		if parseErr == nil && !keep(id) {
			err = errors.Join(err, wipeFile(path))
		}
	}
	return err
}
