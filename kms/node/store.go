package node

import (
	"sync/atomic"

	dbm "github.com/cometbft/cometbft-db"
	cmtconfig "github.com/cometbft/cometbft/config"
)

// store is a database of CometBFT. Its gossip reads on for a moment after the
// node has stopped and closed it, and takes an error for the end of the world:
// from a closed store it reads nothing instead.
type store struct {
	dbm.DB
	closed atomic.Bool
}

// openStore is CometBFT's own provider, with databases that survive their end.
func openStore(ctx *cmtconfig.DBContext) (dbm.DB, error) {
	db, err := cmtconfig.DefaultDBProvider(ctx)
	if err != nil {
		return nil, err
	}
	return &store{DB: db}, nil
}

// Get implements dbm.DB.
func (s *store) Get(key []byte) ([]byte, error) {
	b, err := s.DB.Get(key)
	if err != nil && s.closed.Load() {
		return nil, nil
	}
	return b, err
}

// Close implements dbm.DB.
func (s *store) Close() error {
	s.closed.Store(true)
	return s.DB.Close()
}
