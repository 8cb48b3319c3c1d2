package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// arMemberBytes is one member of an ar archive.
func arMemberBytes(name string, data []byte) []byte {
	out := fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(data))
	out = append(out, data...)
	if len(data)%2 == 1 {
		out = append(out, '\n')
	}
	return out
}

func arBytes(members ...[]byte) []byte {
	return append([]byte(arMagic), bytes.Join(members, nil)...)
}

func tarBytes(t testing.TB, headers ...tar.Header) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		content := strings.Repeat("x", int(h.Size))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func compress(t testing.TB, suffix string, b []byte) []byte {
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".xz":
		w, err = xz.NewWriter(&buf)
	case ".zst":
		w, err = zstd.NewWriter(&buf)
	case ".gz":
		w = gzip.NewWriter(&buf)
	default:
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// debBytes is a package whose data archive has the given entries.
func debBytes(t testing.TB, suffix string, headers ...tar.Header) []byte {
	control := tarBytes(t)
	return arBytes(arMemberBytes("debian-binary", []byte("2.0\n")),
		arMemberBytes("control.tar"+suffix, compress(t, suffix, control)),
		arMemberBytes("data.tar"+suffix, compress(t, suffix, tarBytes(t, headers...))))
}

func TestWalkReadsEveryCompression(t *testing.T) {
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("data.tar"+suffix, func(t *testing.T) {
			b := debBytes(t, suffix,
				tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
				tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/tool", Mode: 0o4755, Size: 5},
				tar.Header{Typeflag: tar.TypeSymlink, Name: "./usr/bin/other", Linkname: "tool", Mode: 0o777})
			var got []Entry
			err := Walk(bytes.NewReader(b), Decompress, func(e Entry, r io.Reader) error {
				got = append(got, e)
				content, err := io.ReadAll(r)
				if int64(len(content)) != e.Size {
					t.Errorf("%s has %d bytes, want %d", e.Path, len(content), e.Size)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []Entry{
				{Path: "usr/bin/tool", Type: tar.TypeReg, Mode: 0o4755, Size: 5},
				{Path: "usr/bin/other", Type: tar.TypeSymlink, Mode: 0o777, Link: "tool"},
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("entries are %v, want %v", got, want)
			}
		})
	}
}

func TestWalkRefuses(t *testing.T) {
	good := debBytes(t, ".xz", tar.Header{Typeflag: tar.TypeReg, Name: "./file", Mode: 0o644, Size: 4096})
	damaged := bytes.Clone(good)
	damaged[len(damaged)-40] ^= 1
	for _, c := range []struct {
		name    string
		deb     []byte
		wantErr string
	}{
		{"nothing", nil, "read ar magic"},
		{"not an archive", []byte("<html>not found</html>"), "not an ar archive"},
		{"no data", arBytes(arMemberBytes("debian-binary", []byte("2.0\n"))), "no data.tar"},
		{"another ar archive", arBytes(arMemberBytes("hello.o", []byte("x"))), "want debian-binary"},
		{"cut off", good[:len(good)-60], "unexpected EOF"},
		{"damaged", damaged, "data archive"},
		{"negative size", arBytes([]byte(fmt.Sprintf("%-48s%-10s`\n", "debian-binary", "-1"))), `size "-1"`},
		{"wrong trailer", arBytes([]byte(fmt.Sprintf("%-48s%-10s!\n", "debian-binary", "1"))), "wrong trailer"},
		{"parent", debBytes(t, "", tar.Header{Typeflag: tar.TypeReg, Name: "../etc/passwd", Mode: 0o644}), "leaves the package"},
		{"hidden parent", debBytes(t, "", tar.Header{Typeflag: tar.TypeReg, Name: "./a/../../b", Mode: 0o644}), "leaves the package"},
		{"absolute", debBytes(t, "", tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd", Mode: 0o644}), "leaves the package"},
		{"hard link out", debBytes(t, "", tar.Header{Typeflag: tar.TypeLink, Name: "./a", Linkname: "../../etc/passwd"}), "leaves the package"},
		{"device", debBytes(t, "", tar.Header{Typeflag: tar.TypeBlock, Name: "./dev/sda", Mode: 0o600}), "want a file, folder or link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Walk(bytes.NewReader(c.deb), Decompress, func(_ Entry, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

func TestUnpackStaysInside(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// A symlink out of the tree, then a file through it.
	b := debBytes(t, ".gz",
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./out", Linkname: outside},
		tar.Header{Typeflag: tar.TypeReg, Name: "./out/planted", Mode: 0o644, Size: 1})
	if err := Unpack(bytes.NewReader(b), root); err == nil {
		t.Error("a file was written through a symlink that leaves the folder")
	}
	if _, err := os.Stat(filepath.Join(outside, "planted")); err == nil {
		t.Error("the file is outside")
	}
}

func TestUnpackKeepsWhatIsMeant(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	b := debBytes(t, ".zst",
		tar.Header{Typeflag: tar.TypeDir, Name: "./etc/", Mode: 0o500},
		tar.Header{Typeflag: tar.TypeReg, Name: "./etc/tool", Mode: 0o6755, Size: 3},
		tar.Header{Typeflag: tar.TypeLink, Name: "./etc/again", Linkname: "./etc/tool"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./lib", Linkname: "usr/lib"})
	for range 2 { // a second time over what is there
		if err := Unpack(bytes.NewReader(b), root); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Lstat(filepath.Join(dir, "etc", "again"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o755 || info.Size() != 3 {
		t.Errorf("hard link has mode %v and %d bytes, want -rwxr-xr-x and 3: set-id bits are not for the host", info.Mode(), info.Size())
	}
	if target, err := os.Readlink(filepath.Join(dir, "lib")); err != nil || target != "usr/lib" {
		t.Errorf("symlink leads to %q (%v), want usr/lib", target, err)
	}
}

func TestStanzas(t *testing.T) {
	for _, c := range []struct {
		name, text, want, wantErr string
	}{
		{"two", "A: 1\nB: 2\n\n\nA: 3\n", "[map[a:1 b:2] map[a:3]]", ""},
		{"continuation", "SHA256:\n aa 1 x\n bb 2 y\n", "[map[sha256:\naa 1 x\nbb 2 y]]", ""},
		{"comment", "# hello\nA: 1\n", "[map[a:1]]", ""},
		{"empty", "", "[]", ""},
		{"colon in value", "Homepage: https://x\n", "[map[homepage:https://x]]", ""},
		{"no colon", "A\n", "", "want Name: value"},
		{"twice", "A: 1\na: 2\n", "", "twice"},
		{"continuation first", " x\n", "", "continuation line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := []Stanza{}
			s := NewStanzas(strings.NewReader(c.text))
			for {
				stanza, err := s.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					if c.wantErr == "" || !strings.Contains(err.Error(), c.wantErr) {
						t.Errorf("error is %v, want %q", err, c.wantErr)
					}
					return
				}
				got = append(got, stanza)
			}
			if fmt.Sprint(got) != c.want || c.wantErr != "" {
				t.Errorf("stanzas are %v, want %v %s", got, c.want, c.wantErr)
			}
		})
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(debBytes(f, "", tar.Header{Typeflag: tar.TypeReg, Name: "./file", Mode: 0o644, Size: 4}))
	f.Add(debBytes(f, ".gz", tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Walk(bytes.NewReader(b), Decompress, func(e Entry, _ io.Reader) error {
			if !filepath.IsLocal(e.Path) {
				t.Errorf("path %q is not local", e.Path)
			}
			return nil
		})
	})
}

func FuzzStanzas(f *testing.F) {
	f.Add("Package: a\nDepends: b (>= 1)\n\nPackage: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := NewStanzas(strings.NewReader(text))
		for {
			stanza, err := s.Next()
			if err != nil {
				return
			}
			if len(stanza) == 0 {
				t.Error("an empty stanza that is not the end")
			}
		}
	})
}
