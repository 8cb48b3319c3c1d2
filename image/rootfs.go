package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/tree"
	"github.com/secretvm/secretvm/image/verity"
	"github.com/secretvm/secretvm/vm"
)

// Where the guest expects its own files.
const (
	guestFolder  = "usr/lib/secretvm"
	guestdFile   = guestFolder + "/guestd"
	modulesFile  = guestFolder + "/modules.list"
	bundleFile   = "etc/ssl/certs/ca-certificates.crt"
	bundleSource = "usr/share/ca-certificates/mozilla/"
)

// erofsArguments: lz4hc over 64 KiB clusters was the fastest to boot of what
// was measured (docs/performance.md); no extended attributes, one owner. Files are
// compressed in segments when there is a worker at all: say so instead of letting
// it follow the number of CPUs.
var erofsArguments = []string{"-zlz4hc,level=9", "-C65536", "-x-1", "--all-root", "--quiet", "--tar=f", "--sort=path", "--workers=2"}

// makeRootfs completes the tree and writes it as an erofs image.
func (b *build) makeRootfs(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	if err := b.completeRoot(); err != nil {
		return "", err
	}
	epoch := b.Source.Spec.Epoch
	image := filepath.Join(b.dir, RootfsName)
	args := slices.Concat(erofsArguments, []string{fmt.Sprintf("-T%d", epoch), "-U" + b.Source.Spec.uuid(), image})
	c := b.tools.Command(ctx, "mkfs.erofs", args...)
	in, err := c.StdinPipe()
	if err != nil {
		return "", err
	}
	var messages strings.Builder
	c.Stdout, c.Stderr = &messages, &messages
	if err := c.Start(); err != nil {
		return "", fmt.Errorf("start mkfs.erofs: %w", err)
	}
	writeErr := errors.Join(b.root.Write(in, time.Unix(epoch, 0)), in.Close())
	if err := c.Wait(); err != nil {
		return "", fmt.Errorf("mkfs.erofs: %w: %s", err, strings.TrimSpace(messages.String()))
	}
	if writeErr != nil {
		return "", fmt.Errorf("mkfs.erofs: %w", writeErr)
	}
	info, err := os.Stat(image)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files, %.0f MB, erofs %.0f MB", len(b.root), megabytes(int(b.root.Size())), megabytes(int(info.Size()))), nil
}

// completeRoot adds what no package has and checks the whole.
func (b *build) completeRoot() error {
	spec := b.Source.Spec.Rootfs
	if err := addBundle(b.root); err != nil {
		return err
	}
	early, err := b.modules.Resolve(b.Source.Spec.Initramfs.Modules, nil)
	if err != nil {
		return err
	}
	modules, err := b.modules.Resolve(spec.Modules, early)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, m := range modules {
		b.root.File(m.Path, 0o644, m.Content)
		fmt.Fprintf(&list, "/%s\n", m.Path)
	}
	b.root.File(modulesFile, 0o644, []byte(list.String()))
	if err := b.addDriver(slices.Concat(early, modules)); err != nil {
		return err
	}
	b.root.File(guestdFile, 0o755, b.guestd)
	for name, program := range b.programs {
		b.root.File(name, 0o755, program)
	}
	for _, name := range spec.Folders {
		mode := int64(0o755)
		if path.Base(name) == "tmp" {
			mode = 0o1777
		}
		b.root.Folder(name, mode)
	}
	for name, target := range spec.Links {
		b.root.Link(name, target)
	}
	for name, content := range spec.Files {
		b.root.File(name, 0o644, []byte(content))
	}
	return errors.Join(b.root.Check(), b.root.CheckLibraries())
}

// addBundle makes the CA bundle that update-ca-certificates would make, and
// drops its sources.
func addBundle(t tree.Tree) error {
	var names []string
	for name := range t {
		if strings.HasPrefix(name, bundleSource) && strings.HasSuffix(name, ".crt") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return errors.New("no package of the guest group has CA certificates")
	}
	slices.Sort(names)
	var bundle strings.Builder
	for _, name := range names {
		bundle.WriteString(strings.TrimSpace(string(t[name].Content)) + "\n")
		delete(t, name)
	}
	t.File(bundleFile, 0o644, []byte(bundle.String()))
	return nil
}

// addVerity appends the hash tree to the root file system and completes the
// command line with it.
func (b *build) addVerity(context.Context) (remark string, err error) {
	if b.cached {
		return "not needed", nil
	}
	f, err := os.OpenFile(filepath.Join(b.dir, RootfsName), os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	salt := b.Source.Spec.salt()
	t, err := verity.Build(f, salt)
	if err != nil {
		return "", err
	}
	if _, err := f.Write(t.Bytes); err != nil { // behind the data: Build read to its end
		return "", fmt.Errorf("append hash tree: %w", err)
	}
	b.manifest.Verity = vm.Verity{RootHash: t.Root, Salt: salt, DataBlocks: t.DataBlocks}
	b.manifest.CommandLine = fmt.Sprintf("%s secretvm.verity=%s secretvm.salt=%s secretvm.blocks=%d",
		b.Source.Spec.CommandLine, t.Root, salt, t.DataBlocks)
	if b.Source.Spec.dev {
		b.manifest.Dev, b.manifest.CommandLine = true, b.manifest.CommandLine+" "+vm.DevArgument
	}
	return "root hash " + t.Root.String()[:16] + "…", nil
}

// salt of the hash tree: public; it only keeps equal blocks of different
// releases apart. It follows from the names alone, so that a builder that makes
// the same files makes the same image.
func (s Spec) salt() vm.Hash {
	return vm.HashOf([]byte("secretvm/v1/verity-salt/" + s.Name + "/" + s.Release))
}

// uuid of the root file system, fixed for a release (RFC 9562, version 8).
func (s Spec) uuid() string {
	h := vm.HashOf([]byte("secretvm/v1/rootfs-uuid/" + s.Name + "/" + s.Release))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// moduleFile names modules as the initramfs has them.
func moduleFile(m kernel.Module) string { return "modules/" + path.Base(m.Path) }
