package foundry

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Product is one file whose bytes are known before it is made.
type Product struct {
	Kind     string  // firmware, kernel or driver: its folder in the cache, and what messages call it
	File     string  // the name that it goes by, e.g. secretvm-tdx.fd
	SHA256   vm.Hash // what a build must yield
	Home     string  // folder of this repository that has SHA256SUMS
	Command  string  // builds it
	Flag     string  // gives a prebuilt file, e.g. --firmware
	Variable string  // environment variable that does so
	MaxSize  int64   // bounds what is read of a prebuilt file, in bytes; 0 is maxProduct
}

const maxProduct = 16 << 20

// Sum finds the SHA-256 of file in the text of a SHA256SUMS file.
func Sum(sums, file string) (vm.Hash, error) {
	for line := range strings.Lines(sums) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == file {
			return vm.ParseHash(fields[0])
		}
	}
	return vm.Hash{}, fmt.Errorf("SHA256SUMS has no line for %s", file)
}

// Check refuses a file that is not, byte for byte, the one of this repository.
func (p Product) Check(content []byte) error {
	if got := vm.HashOf(content); got != p.SHA256 {
		return fmt.Errorf("%s has SHA-256 %s, this release's is %s", p.File, got, p.SHA256)
	}
	return nil
}

// Prebuilt reads a file that was built elsewhere. It need not be trusted: only
// the bytes that a build here would have yielded are taken.
func (p Product) Prebuilt(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read prebuilt %s: %w", p.Kind, err)
	}
	most := cmp.Or(p.MaxSize, maxProduct)
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("read prebuilt %s: %s is no file of at most %d MiB", p.Kind, file, most>>20)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read prebuilt %s: %w", p.Kind, err)
	}
	if err := p.Check(content); err != nil {
		return nil, fmt.Errorf("prebuilt %s %s: %w; take the file of this release, or build it with `%s`", p.Kind, file, err, p.Command)
	}
	return content, nil
}
