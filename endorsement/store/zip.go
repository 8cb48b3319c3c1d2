package store

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/secretvm/secretvm/vm"
)

// WriteZip writes entries as a zip that Open reads. The same entries give the
// same bytes.
func WriteZip(w io.Writer, entries []Entry) error {
	z := zip.NewWriter(w)
	written := map[string]bool{}
	put := func(name string, b []byte) error {
		if written[name] {
			return nil
		}
		written[name] = true
		f, err := z.Create(name)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return err
	}
	for _, e := range entries {
		if err := e.check(); err != nil {
			return fmt.Errorf("write collateral: %w", err)
		}
		x, err := json.Marshal(e.index())
		if err != nil {
			return fmt.Errorf("write collateral: %w", err)
		}
		if err := put(indexName(e.Request), append(x, '\n')); err != nil {
			return fmt.Errorf("write collateral: %w", err)
		}
		for _, b := range [][]byte{e.Body, e.Chain} {
			if len(b) == 0 {
				continue
			}
			if err := put(objectName(vm.HashOf(b)), b); err != nil {
				return fmt.Errorf("write collateral: %w", err)
			}
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write collateral: %w", err)
	}
	return nil
}

// IsZip reports whether b begins as a zip does.
func IsZip(b []byte) bool {
	return bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("PK\x05\x06"))
}
