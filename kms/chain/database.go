package chain

import (
	"fmt"

	dbm "github.com/cosmos/cosmos-db"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// What the database keeps at hand. The state of a million services is two
// thousand tables of 2 MB, and a block reads all over them. By its own measure, 500
// tables and 8 MB, the database would for most entries first read the index of a
// table anew.
const (
	openTables  = 4096
	cachedBytes = 96 << 20
)

// OpenDB opens the application's database in a folder, or makes it.
func OpenDB(folder string) (dbm.DB, error) {
	db, err := dbm.NewGoLevelDBWithOpts("application", folder, &opt.Options{
		Filter: filter.NewBloomFilter(10), OpenFilesCacheCapacity: openTables, BlockCacheCapacity: cachedBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("open the database in %s: %w", folder, err)
	}
	return db, nil
}
