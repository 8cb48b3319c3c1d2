package tree

import (
	"archive/tar"
	"testing"

	"github.com/secretvm/secretvm/image/deb"
)

func TestUnpack(t *testing.T) {
	tr := Tree{}
	for _, e := range []deb.Entry{
		{Path: "bin", Type: tar.TypeDir, Mode: 0o755},
		{Path: "bin/true", Type: tar.TypeReg, Mode: 0o755},
		{Path: "usr/bin/same", Type: tar.TypeLink, Link: "bin/true"},
		{Path: "lib64/ld.so", Type: tar.TypeSymlink, Link: "../lib/ld.so"},
	} {
		if err := tr.Unpack(e, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if n := tr["usr/bin/same"]; string(n.Content) != "x" || tr["usr/lib64/ld.so"].Target != "../lib/ld.so" {
		t.Errorf("tree is %v", tr)
	}
	if err := tr.Unpack(deb.Entry{Path: "a", Type: tar.TypeLink, Link: "b"}, nil); err == nil {
		t.Error("a hard link to nothing was accepted")
	}
}
