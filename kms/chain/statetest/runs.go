package statetest

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	dbm "github.com/cosmos/cosmos-db"
)

// entry is a key of a store and its value.
type entry struct{ key, value []byte }

// writeRun writes entries in their order, each part behind its length (uvarint).
// The file has its name only once it is whole.
func writeRun(name string, entries dbm.Iterator) (err error) {
	f, err := os.Create(name + ".part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	for ; entries.Valid(); entries.Next() {
		for _, part := range [][]byte{entries.Key(), entries.Value()} {
			if _, err := w.Write(binary.AppendUvarint(nil, uint64(len(part)))); err != nil {
				return err
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(entries.Error(), w.Flush()); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// run reads what writeRun wrote.
type run struct {
	file *os.File
	r    *bufio.Reader
	next entry
}

// advance reads the next entry. At the end it says io.EOF.
func (r *run) advance() error {
	var parts [2][]byte
	for i := range parts {
		n, err := binary.ReadUvarint(r.r)
		if err != nil {
			if i == 0 && errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("read %s: %w", r.file.Name(), err)
		}
		parts[i] = make([]byte, n)
		if _, err := io.ReadFull(r.r, parts[i]); err != nil {
			return fmt.Errorf("read %s: %w", r.file.Name(), err)
		}
	}
	r.next = entry{parts[0], parts[1]}
	return nil
}

// merged reads several runs as one.
type merged []*run

// Len is of heap.Interface, as what follows.
func (m merged) Len() int           { return len(m) }
func (m merged) Less(i, j int) bool { return bytes.Compare(m[i].next.key, m[j].next.key) < 0 }
func (m merged) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push is not used: a run that has ended leaves, and none comes.
func (m *merged) Push(x any) { *m = append(*m, x.(*run)) }

// Pop takes the last.
func (m *merged) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

func merge(names []string) (*merged, error) {
	m := &merged{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return m, errors.Join(err, m.close())
		}
		r := &run{file: f, r: bufio.NewReaderSize(f, 256<<10)}
		*m = append(*m, r)
		if err := r.advance(); err != nil {
			return m, errors.Join(err, m.close())
		}
	}
	heap.Init(m)
	return m, nil
}

// read returns the entry of the lowest key, or io.EOF. No key may be there twice.
func (m *merged) read() (entry, error) {
	if len(*m) == 0 {
		return entry{}, io.EOF
	}
	first := (*m)[0]
	e := first.next
	err := first.advance()
	switch {
	case errors.Is(err, io.EOF):
		heap.Pop(m)
		err = first.file.Close()
	case err == nil:
		heap.Fix(m, 0)
	}
	if err == nil && len(*m) > 0 && bytes.Equal((*m)[0].next.key, e.key) {
		err = fmt.Errorf("key %x is there twice", e.key)
	}
	return e, err
}

func (m *merged) close() (err error) {
	for _, r := range *m {
		err = errors.Join(err, r.file.Close())
	}
	return err
}
