package tree

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

var epoch = time.Unix(1700000000, 0)

func sample() Tree {
	t := Tree{}
	t.File("usr/bin/tool", 0o4755, []byte("hello"))
	t.Folder("tmp", 0o1777)
	t.Link("bin", "usr/bin")
	t.File("usr/share/"+strings.Repeat("long/", 40)+"name", 0o644, nil)
	return t
}

func TestWriteIsDeterministicAndComplete(t *testing.T) {
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := sample().Write(w, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if sha256.Sum256(first.Bytes()) != sha256.Sum256(second.Bytes()) {
		t.Error("the same tree gives two archives")
	}
	var got []string
	r := tar.NewReader(&first)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(epoch) {
			t.Errorf("%s has owner %d:%d %q and time %s", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
		}
		if len(h.Name) < 20 {
			got = append(got, fmt.Sprintf("%s %o", h.Name, h.Mode))
		}
	}
	want := "[./ 755 bin 777 tmp/ 1777 usr/ 755 usr/bin/ 755 usr/bin/tool 4755 usr/share/ 755 usr/share/long/ 755]"
	if fmt.Sprint(got) != want {
		t.Errorf("entries are %v, want %s", got, want)
	}
}

func TestFollow(t *testing.T) {
	tree := sample()
	tree.Link("usr/bin/alias", "../../bin/tool")
	tree.Link("absolute", "/bin/tool")
	tree.Link("circle", "circle")
	tree.Link("dangling", "nowhere")
	for _, c := range []struct {
		name, want string
		ok         bool
	}{
		{"usr/bin/tool", "usr/bin/tool", true},
		{"bin/tool", "usr/bin/tool", true},
		{"usr/bin/alias", "usr/bin/tool", true},
		{"absolute", "usr/bin/tool", true},
		{"circle", "", false},
		{"dangling", "nowhere", false},
		{"bin/none", "usr/bin/none", false},
	} {
		if got, ok := tree.Follow(c.name); got != c.want || ok != c.ok {
			t.Errorf("Follow(%q) is %q, %v; want %q, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestCheckRefusesFilesBelowFiles(t *testing.T) {
	tree := sample()
	if err := tree.Check(); err != nil {
		t.Fatal(err)
	}
	tree.File("bin/sh", 0o755, nil) // bin is a symlink
	if err := tree.Check(); err == nil || !strings.Contains(err.Error(), "bin/sh is below bin") {
		t.Errorf("error is %v", err)
	}
}

func TestCheckLibraries(t *testing.T) {
	content, err := os.ReadFile("/bin/ls")
	if err != nil || !bytes.Contains(content, []byte("libc.so.6")) {
		t.Skip("this machine has no dynamically linked /bin/ls to look at")
	}
	tree := Tree{}
	tree.File("usr/bin/ls", 0o755, content)
	if err := tree.CheckLibraries(); err == nil || !strings.Contains(err.Error(), "usr/bin/ls needs ") {
		t.Errorf("error is %v, want one about a missing library", err)
	}
	// A static program needs nothing; neither does what is no program.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	static, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(static, []byte("ld-linux")) && bytes.Contains(static, []byte("libc.so.6\x00")) {
		t.Skip("this test is dynamically linked")
	}
	tree = Tree{}
	tree.File("init", 0o755, static)
	tree.File("text", 0o644, []byte("hello"))
	if err := tree.CheckLibraries(); err != nil {
		t.Errorf("static program: %v", err)
	}
}
