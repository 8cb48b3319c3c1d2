package soft

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxFrame bounds the payload of a frame, in bytes. A quote and its collateral
// take about 30 KiB; JSON's base64 adds a third.
const MaxFrame = 512 << 10

// WriteFrame writes message as one frame: the length of its JSON form as
// little-endian uint32, then the JSON. Header and payload go out in one Write.
func WriteFrame(w io.Writer, message any) error {
	payload, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode soft TEE frame: %w", err)
	}
	if len(payload) > MaxFrame {
		return fmt.Errorf("soft TEE frame has %d bytes, want at most %d", len(payload), MaxFrame)
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(payload)), uint32(len(payload)))
	if _, err := w.Write(append(frame, payload...)); err != nil {
		return fmt.Errorf("write soft TEE frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame and returns its payload. io.EOF, unwrapped, means
// that the stream ended between two frames.
func ReadFrame(r io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read soft TEE frame: %w", err)
	}
	size := binary.LittleEndian.Uint32(header[:])
	if size == 0 || size > MaxFrame {
		return nil, fmt.Errorf("soft TEE frame announces %d bytes, want 1 to %d", size, MaxFrame)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, fmt.Errorf("read soft TEE frame of %d bytes: %w", size, noEOF(err))
	}
	return payload, nil
}

// noEOF turns the end of the stream inside a frame into an error that cannot be
// mistaken for the clean end between two frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
