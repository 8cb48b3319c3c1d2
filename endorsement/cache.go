package endorsement

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/endorsement/store"
)

// CacheFolder is where found objects are kept by default: secretvm/collateral
// below the user's cache folder.
func CacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return filepath.Join(base, "secretvm", "collateral"), nil
}

// OpenCache opens the default cache, and puts it in order once a day.
func OpenCache() (*store.Folder, error) {
	dir, err := CacheFolder()
	if err != nil {
		return nil, err
	}
	f, err := store.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	return f, f.Prune(time.Now(), store.DefaultBounds, false)
}

// Open opens what `secretvm collateral fetch -o` wrote: a folder or a zip.
func Open(name string) (*store.Archive, error) { return store.Open(name) }
