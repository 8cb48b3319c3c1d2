package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// contentBlocks is how long the file is whose blocks the host changes.
const contentBlocks = 1024

var contentPath = filepath.Join(mountPoint, "content")

// content is a block of a version of the file: no two are alike.
func content(version, block uint64) []byte {
	var words [16]byte
	binary.LittleEndian.PutUint64(words[:], version)
	binary.LittleEndian.PutUint64(words[8:], block)
	return bytes.Repeat(words[:], recordSize/len(words))
}

// writeContent writes a version over the one before.
func writeContent(version uint64) error {
	f, err := os.OpenFile(contentPath, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	for n := range uint64(contentBlocks) {
		if _, err := f.Write(content(version, n)); err != nil {
			return errors.Join(fmt.Errorf("write content: %w", err), f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// read opens the disk as a boot does and says of the file's blocks, read past the
// page cache, which cannot be read and which are not what was written.
func (o order) read(ctx context.Context, device string) error {
	v, err := o.open(ctx, device)
	if err != nil {
		return err
	}
	return errors.Join(o.readContent(), v.Close())
}

func (o order) readContent() error {
	f, err := os.OpenFile(contentPath, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return fmt.Errorf("read content: %w", err)
	}
	defer f.Close()
	page, err := unix.Mmap(-1, 0, recordSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned as O_DIRECT wants it
	if err != nil {
		return fmt.Errorf("read content: %w", err)
	}
	defer func() { _ = unix.Munmap(page) }()
	var failed, wrong []uint64
	for n := range uint64(contentBlocks) {
		_, err := f.ReadAt(page, int64(n)*recordSize)
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("read content: it has only %d blocks", n)
		case err != nil:
			failed = append(failed, n)
		case !bytes.Equal(page, content(o.Content, n)):
			wrong = append(wrong, n)
		}
	}
	say(map[string]any{"blocks": contentBlocks, "failed": failed, "wrong": wrong})
	return nil
}
