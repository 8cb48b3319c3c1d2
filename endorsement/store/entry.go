package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Entry is the answer to one request.
type Entry struct {
	Request string    // canonical name of what was asked, the same whichever server answered
	Source  string    // URL of the server that answered
	Fetched time.Time // when
	Body    []byte    // the object
	Chain   []byte    // PEM: who signed it, where that came beside the object
}

// MaxObject bounds one object, in bytes: the largest are NVIDIA's reference
// manifests. MaxRequest and MaxSource bound the texts of an index.
const (
	MaxObject  = vm.MaxGPUSize
	MaxRequest = 512
	MaxSource  = 2048
)

// index is the JSON form of an entry; the objects are elsewhere.
type index struct {
	Version int       `json:"version"` // 1
	Request string    `json:"request"`
	Source  string    `json:"source"`
	Fetched time.Time `json:"fetched"`
	Body    vm.Hash   `json:"body"`
	Chain   *vm.Hash  `json:"chain,omitempty"`
}

const (
	indexVersion = 1
	maxIndex     = 8 << 10
)

// parseIndex reads an index file; everything that we do not write is an error.
func parseIndex(b []byte) (x index, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return x, fmt.Errorf("index: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return x, fmt.Errorf("index: trailing bytes")
	}
	switch {
	case x.Version != indexVersion:
		return x, fmt.Errorf("index: version %d, want %d", x.Version, indexVersion)
	case x.Request == "" || len(x.Request) > MaxRequest || len(x.Source) > MaxSource:
		return x, fmt.Errorf("index: request or source has a wrong length")
	case !printable(x.Request) || !printable(x.Source):
		return x, fmt.Errorf("index: request or source is not printable")
	case x.Fetched.IsZero() || x.Body.IsZero():
		return x, fmt.Errorf("index: the time or the digest is missing")
	}
	return x, nil
}

// printable reports whether s is ASCII that cannot confuse a terminal.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func (e Entry) check() error {
	switch {
	case e.Request == "" || len(e.Request) > MaxRequest || !printable(e.Request):
		return fmt.Errorf("request %.40q cannot be stored", e.Request)
	case len(e.Source) > MaxSource || !printable(e.Source):
		return fmt.Errorf("source %.40q cannot be stored", e.Source)
	case len(e.Body) == 0 || len(e.Body) > MaxObject || len(e.Chain) > MaxObject:
		return fmt.Errorf("%s has %d bytes and a chain of %d, want 1 to %d", e.Request, len(e.Body), len(e.Chain), MaxObject)
	case e.Fetched.IsZero():
		return fmt.Errorf("%s has no time", e.Request)
	}
	return nil
}

func (e Entry) index() index {
	x := index{Version: indexVersion, Request: e.Request, Source: e.Source, Fetched: e.Fetched.UTC(), Body: vm.HashOf(e.Body)}
	if len(e.Chain) > 0 {
		h := vm.HashOf(e.Chain)
		x.Chain = &h
	}
	return x
}

// indexName and objectName are the files of an entry, relative to the store.
func indexName(request string) string {
	return "index/" + vm.HashOf([]byte(request)).String() + ".json"
}
func objectName(h vm.Hash) string { return "objects/" + h.String() }
