package chain

import (
	"errors"
	"fmt"

	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
)

// whole is a database in which what a block changes in a store is written as
// one. IAVL writes a batch whenever it has 100 KB, by what the batch says of its
// size; a node that is killed between two of these has a tree without a root, or
// an index of another block. At the next start such a tree is not found ("version
// does not exist"), or the index of all of it is made anew, which takes minutes
// where there are many services.
type whole struct{ dbm.DB }

// maxWhole is what a batch may hold all the same, in bytes: more than any block
// changes, and less than a genesis of many services.
const maxWhole = 64 << 20

// NewBatch implements dbm.DB.
func (w whole) NewBatch() dbm.Batch { return wholeBatch{w.DB.NewBatch()} }

// NewBatchWithSize implements dbm.DB.
func (w whole) NewBatchWithSize(n int) dbm.Batch { return wholeBatch{w.DB.NewBatchWithSize(n)} }

type wholeBatch struct{ dbm.Batch }

// GetByteSize implements dbm.Batch.
func (b wholeBatch) GetByteSize() (int, error) {
	n, err := b.Batch.GetByteSize()
	if n < maxWhole {
		n = 0
	}
	return n, err
}

// begin removes what a start that was killed before its first block was there has
// left: nothing of it counts.
func begin(db dbm.DB) error {
	if rootmulti.GetLatestVersion(db) != 0 {
		return nil
	}
	for {
		left, err := db.Iterator(nil, nil)
		if err != nil {
			return fmt.Errorf("look for what an earlier start left: %w", err)
		}
		batch, n := db.NewBatch(), 0
		for ; left.Valid() && n < 10_000; left.Next() {
			err = errors.Join(err, batch.Delete(left.Key()))
			n++
		}
		if err := errors.Join(err, left.Error(), left.Close(), batch.Write(), batch.Close()); err != nil {
			return fmt.Errorf("remove what an earlier start left: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}
