package foundry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// Recipe is how a product is made.
type Recipe struct {
	Product
	Variant   string            // tells products apart that have all other inputs in common
	Lock      lock.Lock         // has the groups lock.Source and Toolchain
	Toolchain string            // the group of what runs in the build's root
	Links     map[string]string // below usr/bin, what maintainer scripts would have made: name: target
	Inputs    fs.FS             // scripts, patches, configuration: what the bytes depend on beside the lock

	// Place lays the source out below Dir of root.
	Place  func(ctx context.Context, sources Sources, root *os.Root) (remark string, err error)
	Stages []Stage
	// Finish returns the product when all stages are done.
	Finish func(root *os.Root) ([]byte, error)
	// Notable finds in a line of the build's output the name of what is being
	// built; may be nil.
	Notable func(line string) (name string, ok bool)
}

// Stage is one run of a script in the namespaces.
type Stage struct {
	Script []string // below /Dir, and its arguments; the number of jobs follows them
	// Check looks at what the script did before the next one runs; may be nil.
	Check func(root *os.Root) error
}

// Key digests all that the product's bytes depend on.
func (r Recipe) Key() (vm.Hash, error) {
	d := sha256.New()
	add := func(part []byte) {
		d.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		d.Write(part)
	}
	add([]byte(r.Variant))
	for _, name := range []string{lock.Source, r.Toolchain} {
		group, err := r.Lock.Group(name)
		if err != nil {
			return vm.Hash{}, err
		}
		digest := lock.Digest(group)
		add(digest[:])
	}
	err := fs.WalkDir(r.Inputs, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(r.Inputs, name)
		add([]byte(name))
		add(text)
		return err
	})
	if err != nil {
		return vm.Hash{}, fmt.Errorf("digest inputs of %s: %w", r.File, err)
	}
	var h vm.Hash
	d.Sum(h[:0])
	return h, nil
}
