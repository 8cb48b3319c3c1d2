package initramfs

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

func build(t *testing.T) []byte {
	t.Helper()
	b, err := Build(map[string]File{
		"init":              {0o755, []byte("program")},
		"modules/ext4.ko":   {0o644, []byte("module")},
		"modules.list":      {0o644, nil},
		"deep/er/still/one": {0o600, []byte("x")},
	}, []string{"proc", "dev"}, 1700000000)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuildIsDeterministicAndComplete(t *testing.T) {
	first, second := build(t), build(t)
	if !bytes.Equal(first, second) {
		t.Fatal("the same files give two archives")
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(first)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		if r.UID != 0 || r.GID != 0 || r.MTime != 1700000000 {
			t.Errorf("%s has owner %d:%d and time %d", r.Name, r.UID, r.GID, r.MTime)
		}
		got = append(got, fmt.Sprintf("%s:%o", r.Name, r.Mode))
	}
	// Folders stand before what is in them: the kernel makes none by itself.
	want := "[deep:40755 deep/er:40755 deep/er/still:40755 deep/er/still/one:100600 dev:40755 init:100755 modules:40755 modules.list:100644 modules/ext4.ko:100644 proc:40755]"
	if fmt.Sprint(got) != want {
		t.Errorf("archive holds %v, want %s", got, want)
	}
}

func TestCompress(t *testing.T) {
	plain := bytes.Repeat(build(t), 50)
	first, err := Compress(plain)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Compress(bytes.Clone(plain))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same bytes are compressed in two ways")
	}
	r, err := zstd.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	back, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(back, plain) {
		t.Errorf("decompressed to %d bytes, %v; want %d", len(back), err, len(plain))
	}
}
