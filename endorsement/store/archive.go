package store

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Archive reads a store. It may be used concurrently, also while another
// process writes.
type Archive struct {
	name  string
	files fs.FS
}

// MaxArchive bounds a zip, and what List reads of any store, in bytes;
// maxEntries bounds the number.
const (
	MaxArchive = 64 << 20
	maxEntries = 10_000
)

// Open opens a folder or a zip. What holds no store is an error.
func Open(name string) (*Archive, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open collateral: %w", err)
	case info.IsDir():
		a := &Archive{name: name, files: os.DirFS(name)}
		if _, err := fs.Stat(a.files, "index"); err != nil {
			return nil, fmt.Errorf("open collateral: %s holds none: it has no folder \"index\"; make one with secretvm collateral fetch -o %s", name, name)
		}
		return a, nil
	case info.Size() > MaxArchive:
		return nil, fmt.Errorf("open collateral: %s has %d bytes, want at most %d", name, info.Size(), MaxArchive)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("open collateral: %w", err)
	}
	return OpenZip(name, b)
}

// OpenZip opens a zip in memory; name is for messages.
func OpenZip(name string, b []byte) (*Archive, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("open collateral: %s is no zip: %w", name, err)
	}
	return &Archive{name: name, files: z}, nil
}

// Name is what the archive was opened as.
func (a *Archive) Name() string { return a.name }

// ErrAbsent says that a store has no sound answer to a request.
var ErrAbsent = errors.New("not in the store")

// Get returns the entry of a request, or an error that wraps ErrAbsent: there
// is none, or it is damaged.
func (a *Archive) Get(request string) (Entry, error) {
	e, err := a.load(indexName(request))
	if err == nil && e.Request != request {
		err = errors.New("the index is of another request")
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w: %w", request, ErrAbsent, err)
	}
	return e, nil
}

// List returns all sound entries ordered by request, and what is damaged.
func (a *Archive) List() (entries []Entry, damaged []error) {
	files, err := fs.ReadDir(a.files, "index")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []error{fmt.Errorf("list %s: %w", a.name, err)}
	}
	budget := MaxArchive
	for i, f := range files {
		if i == maxEntries || budget <= 0 {
			damaged = append(damaged, fmt.Errorf("%s holds more than %d entries or %d bytes; the rest was not read", a.name, maxEntries, MaxArchive))
			break
		}
		if !strings.HasSuffix(f.Name(), ".json") {
			continue // a file that is being written
		}
		e, err := a.load(path.Join("index", f.Name()))
		if err == nil && indexName(e.Request) != path.Join("index", f.Name()) {
			err = errors.New("the index is of another request")
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && !a.has(path.Join("index", f.Name())):
			// pruned by another process meanwhile
		case err != nil:
			damaged = append(damaged, fmt.Errorf("%s: %w", f.Name(), err))
		default:
			budget -= len(e.Body) + len(e.Chain)
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(x, y Entry) int { return cmp.Compare(x.Request, y.Request) })
	return entries, damaged
}

func (a *Archive) has(name string) bool {
	_, err := fs.Stat(a.files, name)
	return err == nil
}

// load reads the entry whose index file is name.
func (a *Archive) load(name string) (e Entry, err error) {
	b, err := a.read(name, maxIndex)
	if err != nil {
		return e, err
	}
	x, err := parseIndex(b)
	if err != nil {
		return e, err
	}
	e = Entry{Request: x.Request, Source: x.Source, Fetched: x.Fetched}
	if e.Body, err = a.object(x.Body); err != nil {
		return e, err
	}
	if x.Chain != nil {
		e.Chain, err = a.object(*x.Chain)
	}
	return e, err
}

func (a *Archive) object(h vm.Hash) ([]byte, error) {
	b, err := a.read(objectName(h), MaxObject)
	if err != nil {
		return nil, err
	}
	if got := vm.HashOf(b); got != h {
		return nil, fmt.Errorf("object %s is damaged: its SHA-256 is %s", h, got)
	}
	return b, nil
}

// read reads a file of at most limit bytes. What a zip says about the size of
// a file is not believed.
func (a *Archive) read(name string, limit int64) ([]byte, error) {
	f, err := a.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}
