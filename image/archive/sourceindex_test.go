package archive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ulikunitz/xz"

	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// sourceStanza is one paragraph of a Sources file.
func sourceStanza(name, version string, files ...string) string {
	s := fmt.Sprintf("Package: %s\nVersion: %s\nDirectory: pool/main/e/%s\nChecksums-Sha256:\n", name, version, name)
	for _, f := range files {
		s += fmt.Sprintf(" %s 10 %s\n", vm.HashOf([]byte(f)), f)
	}
	return s + "\n"
}

func TestSourceIndexTakesTheHighestVersion(t *testing.T) {
	var x sourceIndex
	for _, s := range []struct {
		text string
		spec SuiteSpec
	}{
		{sourceStanza("edk2", "2025.02-8", "edk2_2025.02.orig.tar.xz", "edk2_2025.02-8.debian.tar.xz", "edk2_2025.02-8.dsc"), SuiteSpec{Archive: Debian, Suite: "trixie"}},
		{sourceStanza("edk2", "2025.02-8+deb13u1", "edk2_2025.02.orig.tar.xz", "edk2_2025.02-8+deb13u1.debian.tar.xz"), SuiteSpec{Archive: Security, Suite: "trixie-security"}},
	} {
		if err := x.add(strings.NewReader(s.text), s.spec); err != nil {
			t.Fatal(err)
		}
	}
	got, err := x.resolve([]string{"edk2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []lock.Package{
		{Name: "edk2.orig", Path: "pool/main/e/edk2/edk2_2025.02.orig.tar.xz"},
		{Name: "edk2.debian", Path: "pool/main/e/edk2/edk2_2025.02-8+deb13u1.debian.tar.xz"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d files %+v, want the two tarballs", len(got), got)
	}
	for i, p := range got {
		if p.Name != want[i].Name || p.Path != want[i].Path || p.Archive != Security || p.Arch != lock.SourceArch || p.Version != "2025.02-8+deb13u1" || p.Size != 10 {
			t.Errorf("file %d is %+v, want %s at %s", i, p, want[i].Name, want[i].Path)
		}
	}
}

func TestSourceIndexRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"no such package", sourceStanza("other", "1", "other_1.tar.xz"), "no suite has the source package edk2"},
		{"no tarball", sourceStanza("edk2", "1", "edk2_1.dsc"), "names no tarball"},
		{"other compression", sourceStanza("edk2", "1", "edk2_1.orig.tar.gz"), "is no .tar.xz"},
		{"not a digest", "Package: edk2\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n xyz 10 edk2_1.orig.tar.xz\n\n", "edk2_1.orig.tar.xz"},
		{"no size", "Package: edk2\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n " + vm.HashOf(nil).String() + " 0 edk2_1.orig.tar.xz\n\n", "has the size"},
		{"two fields", "Package: edk2\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n 12 edk2_1.orig.tar.xz\n\n", "want digest, size and name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x sourceIndex
			if err := x.add(strings.NewReader(c.text), SuiteSpec{Archive: Debian, Suite: "trixie"}); err != nil {
				t.Fatal(err)
			}
			if _, err := x.resolve([]string{"edk2"}); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

// The Sources index counts only as the signed Release file names it.
func TestRefreshSources(t *testing.T) {
	ours := key(t)
	pack := func(text string) []byte {
		var buf bytes.Buffer
		w, err := xz.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	packages := pack(stanza("gcc", "14", "", ""))
	sources := pack(sourceStanza("edk2", "1-1", "edk2_1.orig.tar.xz", "edk2_1-1.debian.tar.xz"))
	text := releaseText("trixie", released, released.Add(7*24*time.Hour), map[string][]byte{mainComponent + "/" + packagesIndex + ".xz": packages, sourcesIndex + ".xz": sources})
	files := map[string][]byte{
		"dists/trixie/InRelease": sign(t, ours, text),
		"dists/trixie/main/binary-amd64/by-hash/SHA256/" + vm.HashOf(packages).String(): packages,
		"dists/trixie/main/source/by-hash/SHA256/" + vm.HashOf(sources).String():        sources,
	}
	run := func(files map[string][]byte) (lock.Lock, error) {
		f := Refresher{
			Client: &fetch.Client{Pause: time.Millisecond}, Mirrors: Mirrors{Debian: {mirror(t, files)}}, Keys: openpgp.EntityList{ours},
			Now: func() time.Time { return soon },
		}
		return f.Refresh(t.Context(), []SuiteSpec{{Archive: Debian, Suite: "trixie"}},
			map[string]Wanted{lock.Source: {Sources: []string{"edk2"}}, lock.FirmwareToolchain: {Packages: []string{"gcc"}}}, lock.Lock{})
	}
	l, err := run(files)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Groups[lock.Source]; len(got) != 2 || got[0].Name != "edk2.debian" || got[1].Name != "edk2.orig" {
		t.Errorf("group source is %+v, want edk2.debian and edk2.orig", got)
	}
	if got := l.Groups[lock.FirmwareToolchain]; len(got) != 1 || got[0].Name != "gcc" {
		t.Errorf("group firmware-toolchain is %+v, want gcc alone", got)
	}
	files["dists/trixie/main/source/by-hash/SHA256/"+vm.HashOf(sources).String()] = pack(sourceStanza("edk2", "6.6-6", "edk2_6.6.orig.tar.xz"))
	if _, err := run(files); err == nil || !strings.Contains(err.Error(), "not what InRelease says") {
		t.Errorf("with a forged index the error is %v, want one about InRelease", err)
	}
}
