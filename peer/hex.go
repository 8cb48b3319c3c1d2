package peer

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// readHex fills dst from exactly as many bytes in hex, in either case.
func readHex(dst []byte, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(dst) {
		return fmt.Errorf("%.20q is not %d bytes in hex", s, len(dst))
	}
	copy(dst, b)
	return nil
}

// check keeps what a registry calls an image fit to print.
func (i Image) check() error {
	for _, s := range []string{i.Template, i.Kind, i.Version} {
		if len(s) > 64 {
			return errors.New("name, kind or version of an image has more than 64 characters")
		}
		for _, c := range s {
			if c < 0x20 || c > 0x7e {
				return fmt.Errorf("%q is no name, kind or version of an image", s)
			}
		}
	}
	if i.Kind == "" || i.Version == "" {
		return errors.New("an image without kind or version")
	}
	return nil
}
