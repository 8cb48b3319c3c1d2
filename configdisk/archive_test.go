package configdisk

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func testArchive(t testing.TB, files []byte) Archive {
	t.Helper()
	compose := []byte("services: {}\n")
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf(compose), Service: "svm1abc/guestbook", InstanceID: "00112233445566778899aabbccddeeff",
		KMS: vm.KMS{ChainID: "test-1", GroupKey: strings.Repeat("8a", 96)}, TLS: "self", Open: []string{}, Images: "digest", GPU: vm.GPUNone,
	}
	if files != nil {
		h := vm.HashOf(files)
		cfg.FilesHash = &h
	}
	raw, err := cfg.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return Archive{Config: raw, Compose: compose, Files: files, Hints: Hints{KMS: []string{"http://10.0.2.2:26680"}, Registry: "10.0.2.2:5000"}}
}

func encode(t testing.TB, a Archive) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, a); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestArchiveRoundTrip(t *testing.T) {
	for _, files := range [][]byte{nil, []byte("some files"), bytes.Repeat([]byte{7}, 512)} {
		want := testArchive(t, files)
		raw := encode(t, want)
		if !bytes.Equal(raw, encode(t, want)) {
			t.Fatal("two writes of one archive differ")
		}
		got, err := ReadArchive(bytes.NewReader(append(raw, make([]byte, 5000)...)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, got), raw) || (got.Files == nil) != (files == nil) {
			t.Fatal("the archive changed on its way")
		}
		if _, err := got.Open(); err != nil {
			t.Fatal(err)
		}
	}
}

// The standard library's reader must see the same entries: an owner can look
// at the disk with any tar.
func TestArchiveIsPlainTar(t *testing.T) {
	tr := tar.NewReader(bytes.NewReader(encode(t, testArchive(t, []byte("files")))))
	var names []string
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Format != tar.FormatUSTAR || h.Mode != 0o444 || h.Typeflag != tar.TypeReg || h.ModTime.Unix() != 0 {
			t.Fatalf("%s: unexpected header %+v", h.Name, h)
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "config.json docker-compose.yaml files.tar hints.json" {
		t.Fatalf("entries are %s", got)
	}
}

func TestReadArchiveRefuses(t *testing.T) {
	whole := testArchive(t, []byte("files"))
	good := encode(t, whole)
	change := func(off int, b byte) []byte {
		out := bytes.Clone(good)
		out[off] = b
		return out
	}
	entry := func(name string, data []byte) []byte {
		h := ustarHeader(name, len(data))
		out := append(h[:], data...)
		return append(out, make([]byte, padding(len(data)))...)
	}
	join := func(parts ...[]byte) []byte { return append(bytes.Join(parts, nil), make([]byte, 1024)...) }
	config, file := entry(ConfigName, whole.Config), entry(ComposeName, whole.Compose)
	hints := entry(HintsName, []byte(`{}`))
	symlink := entry(ComposeName, whole.Compose)
	symlink[156] = '2'

	for _, c := range []struct {
		name    string
		raw     []byte
		wantErr string
	}{
		{"nothing", nil, "config.json is missing: the archive ends before it"},
		{"blank disk", make([]byte, 4096), `want config.json, found ""`},
		{"one block", good[:512], "config.json is cut off after 0 of"},
		{"cut inside a file", good[:700], "config.json is cut off after 188 of"},
		{"B3: no compose file", join(config, hints), "want docker-compose.yaml, found \"hints.json\""},
		{"B3: empty compose file", join(config, entry(ComposeName, nil), hints), "docker-compose.yaml is empty"},
		{"no hints", join(config, file), `want hints.json, found ""`},
		{"wrong order", join(file, config, hints), "want config.json, found \"docker-compose.yaml\""},
		{"twice the compose file", join(config, file, file, hints), "want hints.json, found \"docker-compose.yaml\""},
		{"link", join(config, symlink, hints), "docker-compose.yaml: the header is not the plain ustar header"},
		{"other mode", change(100, '1'), "config.json: the header is not the plain ustar header"},
		{"prefix field", change(345, 'x'), "config.json: the header is not the plain ustar header"},
		{"size in another base", change(124, 0x80), "octal digits"},
		{"size beyond the disk", change(124, '7'), "config.json has"},
		{"padding", change(512+len(whole.Config), 1), "config.json: the padding is not zero"},
		{"no end", bytes.Join([][]byte{config, file, hints}, nil), "without its two zero blocks"},
		{"trailing bytes", append(bytes.Clone(good), 1), "bytes after the last entry"},
		{"unknown hint", join(config, file, entry(HintsName, []byte(`{"kmss":[]}`))), `unknown field "kmss"`},
		{"hint is no URL", join(config, file, entry(HintsName, []byte(`{"kms":["file:///etc"]}`))), "want an http or https URL"},
		{"registry is no address", join(config, file, entry(HintsName, []byte(`{"registry":"here"}`))), "is not host:port"},
		{"two documents of hints", join(config, file, entry(HintsName, []byte(`{}{}`))), "trailing bytes"},
		{"too large", make([]byte, MaxArchiveSize+1), "more than 16777216 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadArchive(bytes.NewReader(c.raw))
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestReadArchivePassesReadErrorsOn(t *testing.T) {
	broken := io.MultiReader(bytes.NewReader(encode(t, testArchive(t, nil))[:600]), errReader{})
	if _, err := ReadArchive(broken); !errors.Is(err, errDisk) {
		t.Fatalf("error is %v, want %v", err, errDisk)
	}
}

var errDisk = errors.New("input/output error")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errDisk }

func TestB2_OtherBytesThanTheConfigNames(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Archive)
		want   vm.Code
	}{
		{"compose file", func(a *Archive) { a.Compose = append(bytes.Clone(a.Compose), '\n') }, vm.CodeCompose},
		{"files archive", func(a *Archive) { a.Files = []byte("other files") }, vm.CodeCompose},
		{"files archive left out", func(a *Archive) { a.Files = nil }, vm.CodeCompose},
		{"files archive slipped in", func(a *Archive) { *a = testArchive(t, nil); a.Files = []byte("files") }, vm.CodeCompose},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testArchive(t, []byte("files"))
			c.change(&a)
			read, err := ReadArchive(bytes.NewReader(encode(t, a)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = read.Open(); vm.CodeOf(err) != c.want {
				t.Fatalf("error is %v, want code %s", err, c.want)
			}
		})
	}
}

func TestWriteArchiveRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		archive Archive
		wantErr string
	}{
		{"no config", Archive{Compose: []byte("x")}, "config.json is empty"},
		{"no compose file", Archive{Config: []byte("{}")}, "docker-compose.yaml is empty"},
		{"empty files archive", Archive{Config: []byte("{}"), Compose: []byte("x"), Files: []byte{}}, "files.tar is empty"},
		{"too large", Archive{Config: []byte("{}"), Compose: []byte("x"), Files: make([]byte, MaxArchiveSize-2048)}, "want at most 16777216"},
		{"bad hint", Archive{Config: []byte("{}"), Compose: []byte("x"), Hints: Hints{KMS: []string{"x"}}}, "want an http or https URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Write(io.Discard, c.archive)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

// Whatever is read can be written, and gives the same bytes up to the zeros at
// the end: there is one spelling of an archive.
func FuzzReadArchive(f *testing.F) {
	f.Add(encode(f, testArchive(f, nil)))
	f.Add(encode(f, testArchive(f, []byte("files"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ReadArchive(bytes.NewReader(raw))
		if err != nil {
			return
		}
		again, err := ReadArchive(bytes.NewReader(encode(t, a)))
		if err != nil || !bytes.Equal(again.Compose, a.Compose) || !bytes.Equal(again.Config, a.Config) || !bytes.Equal(again.Files, a.Files) {
			t.Fatalf("the archive changed on its way: %v", err)
		}
	})
}
