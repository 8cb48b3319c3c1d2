package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// DecodeStrict reads b, which must be exactly one JSON document without a field
// that into does not have.
func DecodeStrict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing bytes after the document")
	}
	return nil
}
