package configdisk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/secretvm/secretvm/vm"
)

// Write writes the archive: one byte sequence for one Archive. It refuses what
// ReadArchive would refuse. No guest writes one, and none links it.
func Write(w io.Writer, a Archive) error {
	hints, err := encodeHints(a.Hints)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	for _, e := range []struct {
		name string
		data []byte
		max  int
	}{
		{ConfigName, a.Config, vm.MaxConfigSize},
		{ComposeName, a.Compose, MaxComposeSize},
		{FilesName, a.Files, MaxArchiveSize},
		{HintsName, hints, maxHintsSize},
	} {
		if e.name == FilesName && e.data == nil {
			continue
		}
		if err := checkEntry(e.name, len(e.data), e.max); err != nil {
			return fmt.Errorf("write config archive: %w", err)
		}
		header := ustarHeader(e.name, len(e.data))
		buf.Write(header[:])
		buf.Write(e.data)
		buf.Write(make([]byte, padding(len(e.data))))
	}
	buf.Write(make([]byte, 2*blockSize))
	if buf.Len() > MaxArchiveSize {
		return fmt.Errorf("write config archive: it has %d bytes, want at most %d: make the files archive smaller", buf.Len(), MaxArchiveSize)
	}
	if _, err := buf.WriteTo(w); err != nil {
		return fmt.Errorf("write config archive: %w", err)
	}
	return nil
}

func encodeHints(h Hints) ([]byte, error) {
	if err := h.validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode hints: %w", err)
	}
	return b, nil
}
