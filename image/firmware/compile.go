package firmware

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/lock"
)

// Where things are in the build's root.
const (
	buildDir  = "b"
	sourceDir = "b/edk2"
)

// tail is how many lines of a failed build's output the error shows.
const tail = 15

// unpack lays out the root of the build: /b/edk2 is the source.
func (b *build) unpack(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	parent := b.WorkDir
	if parent == "" {
		parent = filepath.Dir(b.cacheFile())
	}
	var err error
	if b.work, err = os.MkdirTemp(parent, ".build-*"); err != nil {
		return "", fmt.Errorf("make build folder: %w", err)
	}
	root, err := os.OpenRoot(b.work)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := layOut(root); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	sources, err := b.lock.Group(lock.Source)
	if err != nil {
		return "", err
	}
	orig, err := b.unpackTarball(ctx, root, sources, origTarball, buildDir)
	if err != nil {
		return "", err
	}
	if _, err := b.unpackTarball(ctx, root, sources, debianTarball, buildDir); err != nil {
		return "", err
	}
	// The folder in the tarball has the version in its name, and its length is in
	// the result: one name for all.
	upstream, _, _ := strings.Cut(orig.Version, "-")
	if err := root.Rename(buildDir+"/edk2-"+upstream, sourceDir); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	return "edk2 " + orig.Version, placeInputs(root)
}

func (b *build) unpackTarball(ctx context.Context, root *os.Root, sources []lock.Package, name, below string) (lock.Package, error) {
	p, err := tarball(sources, name)
	if err != nil {
		return p, err
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	r, err := b.Pool.Open(p)
	if err != nil {
		return p, err
	}
	sub, err := root.OpenRoot(below)
	if err != nil {
		return p, err
	}
	defer sub.Close()
	if err := deb.UnpackTarball(path.Base(p.Path), r, sub); err != nil {
		return p, fmt.Errorf("unpack %s: %w", path.Base(p.Path), err)
	}
	return p, nil
}

// layOut makes the folders and links of the root; Enter mounts the rest.
func layOut(root *os.Root) error {
	for _, dir := range []string{buildDir, buildDir + "/patches", "usr", "tmp", "dev/shm"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := root.Symlink("usr/"+dir, dir); err != nil {
			return err
		}
	}
	for _, device := range devices {
		if err := root.WriteFile("dev/"+device, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// placeInputs writes the platforms' descriptions, our patches and the script.
func placeInputs(root *os.Root) error {
	if err := root.Mkdir(sourceDir+"/SecretVm", 0o755); err != nil {
		return err
	}
	return fs.WalkDir(inputs, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := inputs.ReadFile(name)
		if err != nil {
			return err
		}
		to := buildDir + "/" + name
		if path.Dir(name) == "platform" {
			to = sourceDir + "/SecretVm/" + path.Base(name)
		}
		return root.WriteFile(to, text, 0o644)
	})
}

// compile runs the build script in the namespaces and reads what it made.
func (b *build) compile(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	command := namespaced(ctx, b.Enter, b.toolchain, b.work, b.Platform.name, strconv.Itoa(jobs()))
	modules, err := b.follow(command)
	if err != nil {
		return "", err
	}
	if b.image, err = os.ReadFile(filepath.Join(b.work, buildDir, "OVMF.fd")); err != nil {
		return "", fmt.Errorf("read the built firmware: %w", err)
	}
	return fmt.Sprintf("%d modules, %d KB", modules, len(b.image)>>10), nil
}

// follow runs the build, tells its progress, and returns how many modules and
// libraries it built. The error of a failed build shows the end of its output.
func (b *build) follow(command *exec.Cmd) (modules int, err error) {
	output, err := command.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("run build: %w", err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return 0, namespaceError(err)
	}
	var last []string
	lines := bufio.NewScanner(output)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for lines.Scan() {
		line := lines.Text()
		if _, module, ok := strings.Cut(line, "Building ... "); ok {
			modules++
			name, _, _ := strings.Cut(path.Base(module), " ")
			b.note("%d: %s", modules, name)
		}
		if last = append(last, shorten(line)); len(last) > tail {
			last = last[1:]
		}
	}
	err = errors.Join(lines.Err(), command.Wait())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return modules, nil
	case errors.As(err, &exit) && exit.ExitCode() == enterFailed:
		return modules, namespaceError(errors.New(strings.Join(last, "; ")))
	}
	return modules, fmt.Errorf("edk2's build failed: %w; its last lines:\n%s", err, strings.Join(last, "\n"))
}

func (b *build) note(format string, args ...any) {
	if b.Note != nil {
		b.Note(format, args...)
	}
}

// shorten cuts compilers' command lines.
func shorten(line string) string {
	if len(line) > 300 {
		return line[:300] + "…"
	}
	return line
}
