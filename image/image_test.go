package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/tree"
	"github.com/secretvm/secretvm/vm"
)

func TestBaseSourceIsWhole(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	for group, wanted := range s.Spec.Groups {
		packages, err := s.Lock.Group(group)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range wanted.Packages {
			name, _, _ = strings.Cut(name, "/")
			if !slices.ContainsFunc(packages, func(p lock.Package) bool { return p.Name == name }) {
				t.Errorf("the lock's group %s lacks %s: run secretvm image lock", group, name)
			}
		}
		for _, p := range packages {
			if slices.Contains(wanted.Exclude, p.Name) {
				t.Errorf("the lock's group %s has %s, which is excluded: run secretvm image lock", group, p.Name)
			}
		}
	}
	// What would bring maintainer scripts, an init or a package manager to life.
	for _, p := range s.Lock.Groups[lock.Guest] {
		if slices.Contains([]string{"dpkg", "apt", "perl-base", "debconf", "systemd", "init-system-helpers", "bash", "dash", "busybox"}, p.Name) {
			t.Errorf("%s is in the guest", p.Name)
		}
	}
	again, err := s.Lock.Encode()
	if err != nil || string(again) != string(s.LockBytes) {
		t.Errorf("the committed lock is not what would be written from it (%v)", err)
	}
}

func TestNoMirrorIsInTheRepository(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"specification": s.SpecBytes, "lock": s.LockBytes} {
		if strings.Contains(string(text), "://") {
			t.Errorf("the %s names a URL", name)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, wantErr string }{
		{"unknown field", "release:", "relaese:", "relaese"},
		{"no name", "name: base", `name: ""`, "name is"},
		{"no epoch", "epoch: 1793491200", "epoch: 0", "epoch is missing"},
		{"the builder's own argument", "command_line: ", "command_line: secretvm.verity=0 ", "which is the builder's"},
		{"no guest", "  guest:\n    packages: [", "  guest:\n    exclude: []\n  other:\n    packages: [", "group guest has no packages"},
		{"two documents", "name: base", "name: base\n---\nname: base", "more than one document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(string(s.SpecBytes), c.from, c.to, 1)
			if text == string(s.SpecBytes) {
				t.Fatalf("%q is not in the specification", c.from)
			}
			if _, err := ParseSpec([]byte(text)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

func TestDrops(t *testing.T) {
	r := RootfsSpec{Drop: []string{"usr/share/doc/", "usr/sbin/e2scrub*", "etc/fstab"}}
	for name, want := range map[string]bool{
		"usr/share/doc": true, "usr/share/doc/x/copyright": true, "usr/share/docker": false,
		"usr/sbin/e2scrub_all": true, "usr/sbin/e2fsck": false, "etc/fstab": true, "etc/fstab.d": false,
	} {
		if got := r.drops(name); got != want {
			t.Errorf("drops(%q) is %v, want %v", name, got, want)
		}
	}
}

func TestBundleIsSorted(t *testing.T) {
	root := tree.Tree{}
	if err := addBundle(root); err == nil {
		t.Error("no certificates, and no error")
	}
	root.File(bundleSource+"b.crt", 0o644, []byte("B\n"))
	root.File(bundleSource+"a.crt", 0o644, []byte("A"))
	if err := addBundle(root); err != nil {
		t.Fatal(err)
	}
	if got := string(root[bundleFile].Content); got != "A\nB\n" || len(root) != 1 {
		t.Errorf("bundle is %q in a tree of %d files", got, len(root))
	}
}

// imageFolder is an image of made-up files.
func imageFolder(t *testing.T) (string, vm.Manifest) {
	t.Helper()
	dir := t.TempDir()
	m := vm.Manifest{Version: 1, Name: "base"}
	for name, to := range map[string]*vm.File{FirmwareName: &m.Firmware, KernelName: &m.Kernel, "initramfs.cpio.zst": &m.Initramfs, RootfsName: &m.Rootfs} {
		if err := writeFile(filepath.Join(dir, name), []byte("content of "+name)); err != nil {
			t.Fatal(err)
		}
		var err error
		if *to, err = describeFile(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	const snpName = "secretvm-snp.fd"
	if err := writeFile(filepath.Join(dir, snpName), []byte("content of "+snpName)); err != nil {
		t.Fatal(err)
	}
	snp, err := describeFile(dir, snpName)
	if err != nil {
		t.Fatal(err)
	}
	m.SNPFirmware = &snp
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, vm.ManifestName), text); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func TestB1_VerifyFindsAlteredFiles(t *testing.T) {
	dir, m := imageFolder(t)
	if _, err := Verify(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range imageFiles(m)[:5] {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(good)
		bad[3] ^= 1
		if err := writeFile(path, bad); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s was altered; error is %v", name, err)
		}
		if err := writeFile(path, good); err != nil {
			t.Fatal(err)
		}
	}
	m.Rootfs.Name = "../" + filepath.Base(dir) + "/" + RootfsName
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, vm.ManifestName), text); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir); err == nil {
		t.Error("a manifest that names a file elsewhere was accepted")
	}
}

func TestPlaceCopiesInsteadOfLinking(t *testing.T) {
	from, m := imageFolder(t)
	out := filepath.Join(t.TempDir(), "out")
	b := &build{Options: Options{Output: out}, final: from, dir: from, cached: true, manifest: m}
	if err := b.place(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, RootfsName), []byte("altered"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(from); err != nil {
		t.Errorf("altering the copy altered the cache: %v", err)
	}
}

func TestKeyFollowsEveryInput(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	key := func(change func(*build)) vm.Hash {
		b := &build{Options: Options{Source: s}, guestInit: []byte("init"), guestd: []byte("guestd")}
		change(b)
		h, err := b.inputs()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	same := key(func(*build) {})
	if again := key(func(*build) {}); again != same {
		t.Error("the same inputs have two keys")
	}
	for name, change := range map[string]func(*build){
		"guest-init":    func(b *build) { b.guestInit = []byte("other") },
		"guestd":        func(b *build) { b.guestd = []byte("other") },
		"moved border":  func(b *build) { b.guestInit, b.guestd = []byte("initg"), []byte("uestd") },
		"specification": func(b *build) { b.Source.SpecBytes = append(slices.Clone(s.SpecBytes), '\n') },
		"firmware":      func(b *build) { b.Firmware = []byte("own") },
		"kernel":        func(b *build) { b.Kernel = []byte("own") },
		"lock": func(b *build) {
			groups := map[string][]lock.Package{}
			for name, g := range s.Lock.Groups {
				groups[name] = g
			}
			groups[lock.Tools] = groups[lock.Tools][1:]
			b.Source.Lock.Groups = groups
		},
	} {
		if key(change) == same {
			t.Errorf("%s changed and the key did not", name)
		}
	}
}

// The minimal kernel has built in whatever the specification loads as a module:
// what runs with the one runs with the other.
func TestMinimalKernelHasEveryModule(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	b := &build{Options: Options{Source: s, Kernel: []byte("own")}, modules: kernel.NewSet(), guestInit: []byte("init")}
	b.modules.Add("modules.builtin", linux.Builtin())
	for _, name := range slices.Concat(s.Spec.Initramfs.Modules, s.Spec.Rootfs.Modules) {
		if modules, err := b.modules.Resolve([]string{name}, nil); err != nil || len(modules) != 0 {
			t.Errorf("%s: %d modules, %v; want it built in", name, len(modules), err)
		}
	}
	if _, err := b.modules.Resolve([]string{"nfs"}, nil); err == nil {
		t.Error("a module that is not built in is found")
	}
	// The initramfs has none, and the size that the kernel's header says.
	if _, err := b.makeInitramfs(t.Context()); err != nil || len(b.initramfs) != linux.InitramfsSize {
		t.Errorf("the initramfs has %d bytes, want %d (%v)", len(b.initramfs), linux.InitramfsSize, err)
	}
}

// A fix that Debian makes reaches both kernels: their locks are refreshed together.
func TestKernelsHaveOneVersion(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	own, err := linux.Lock()
	if err != nil {
		t.Fatal(err)
	}
	generic := slices.IndexFunc(s.Lock.Groups[lock.Kernel], func(p lock.Package) bool { return strings.HasPrefix(p.Name, "linux-binary-") })
	if generic < 0 {
		t.Fatal("the image's lock has no linux-binary package")
	}
	want, got := s.Lock.Groups[lock.Kernel][generic].Version, own.Groups[lock.Source][0].Version
	if got != want {
		t.Errorf("our own kernel is %s, Debian's %s: run `secretvm image kernel lock`, and see docs/kernel.md", got, want)
	}
}

// What is given as a file is not taken from a package, and its source is named.
func TestOriginsFollowWhatIsOurOwn(t *testing.T) {
	s, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	l, err := linux.Lock()
	if err != nil {
		t.Fatal(err)
	}
	own := l.Groups[lock.Source][0].Name
	for _, c := range []struct {
		name             string
		kernel, firmware []byte
		want, absent     []string
	}{
		{"Debian's", nil, nil, []string{"linux-image-amd64", "ovmf"}, []string{own, "edk2.orig"}},
		{"own kernel", []byte("k"), nil, []string{own, "ovmf"}, []string{"linux-image-amd64", "edk2.orig"}},
		{"both own", []byte("k"), []byte("f"), []string{own, "edk2.orig"}, []string{"linux-image-amd64", "ovmf"}},
	} {
		packages, err := Options{Source: s, Kernel: c.kernel, Firmware: c.firmware}.origins()
		if err != nil {
			t.Fatal(err)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(packages, func(p lock.Package) bool { return p.Name == name })
		}
		for _, name := range c.want {
			if !has(name) {
				t.Errorf("%s: %s is not among the origins", c.name, name)
			}
		}
		for _, name := range c.absent {
			if has(name) {
				t.Errorf("%s: %s is among the origins", c.name, name)
			}
		}
	}
}
