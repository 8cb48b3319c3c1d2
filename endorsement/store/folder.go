package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Folder is a store that can be written to. It may be used concurrently, and
// by several processes at once.
type Folder struct {
	*Archive
	dir string
}

// OpenFolder opens the store in dir, which is made where it is missing.
func OpenFolder(dir string) (*Folder, error) {
	for _, sub := range []string{"index", "objects"} {
		// What somebody verifies is nobody else's business.
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open collateral store: %w", err)
		}
	}
	return &Folder{Archive: &Archive{name: dir, files: os.DirFS(dir)}, dir: dir}, nil
}

// Put keeps an entry in place of an earlier one of the same request. Objects
// are on the disk before the index names them.
func (f *Folder) Put(e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("keep collateral: %w", err)
	}
	x := e.index()
	if err := f.putObject(x.Body, e.Body); err != nil {
		return err
	}
	if x.Chain != nil {
		if err := f.putObject(*x.Chain, e.Chain); err != nil {
			return err
		}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("keep collateral: %w", err)
	}
	return f.write(indexName(e.Request), append(b, '\n'))
}

// putObject writes an object unless it is there and sound. An old one is
// touched: Prune spares what is young, for its index may be on its way.
func (f *Folder) putObject(h vm.Hash, b []byte) error {
	name := filepath.Join(f.dir, objectName(h))
	now := time.Now()
	if os.Chtimes(name, now, now) == nil {
		if _, err := f.object(h); err == nil {
			return nil
		}
	}
	return f.write(objectName(h), b)
}

// write makes a file appear complete or not at all.
func (f *Folder) write(name string, b []byte) error {
	to := filepath.Join(f.dir, filepath.FromSlash(name))
	file, err := os.CreateTemp(filepath.Dir(to), temporary+"*")
	if err != nil {
		return fmt.Errorf("keep collateral: %w", err)
	}
	_, err = file.Write(b)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), to)
	}
	if err != nil {
		return fmt.Errorf("keep collateral: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

const temporary = ".new-"

// Remove forgets an entry; its objects go with the next Prune.
func (f *Folder) Remove(request string) error {
	if err := os.Remove(filepath.Join(f.dir, indexName(request))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget %s: %w", request, err)
	}
	return nil
}
