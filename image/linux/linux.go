package linux

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/image/lock"
)

// Variable names the environment variable that gives a prebuilt kernel, for
// machines that cannot build one.
const Variable = "SECRETVM_KERNEL"

// File is the name that the kernel goes by.
const File = "vmlinuz-minimal"

// fragmentFile has our options.
const fragmentFile = "minimal.config"

// sourceDir is where the source is in the build's root.
const sourceDir = foundry.Dir + "/linux"

// Our options and the scripts: with the lock all that make sees. What becomes of its
// result here (Preset) the committed SHA-256 covers.
//
//go:embed minimal.config configure.sh build.sh
var inputs embed.FS

//go:embed SHA256SUMS
var sums string

//go:embed linux.lock.json
var locked []byte

// builtin is the kernel's own list of what would be modules elsewhere. An image's
// builder needs it to know that a module it wants is there, and has no kernel
// tree to ask.
//
//go:embed modules.builtin
var builtin []byte

// Lock returns the lock that this program was built with: groups lock.Source and
// lock.KernelToolchain.
func Lock() (lock.Lock, error) { return lock.Parse(locked) }

// ParseSpec reads linux.yaml, which the lock is made from.
func ParseSpec(b []byte) (foundry.Spec, error) {
	return foundry.ParseSpec(b, "kernel", lock.Source, lock.KernelToolchain)
}

// Builtin returns the kernel's modules.builtin: one path a line, ending in .ko.
func Builtin() []byte { return bytes.Clone(builtin) }

// Fragment returns our options.
func Fragment() ([]Option, error) {
	text, err := inputs.ReadFile(fragmentFile)
	if err != nil {
		return nil, err
	}
	return ParseFragment(text)
}

// Recipe returns how the kernel is made.
func Recipe() (foundry.Recipe, error) {
	r := foundry.Recipe{
		Product: foundry.Product{
			Kind: "kernel", File: File, Home: "image/linux",
			Command: "secretvm image kernel build", Flag: "--kernel", Variable: Variable,
		},
		Variant: "minimal", Toolchain: lock.KernelToolchain, Inputs: inputs,
		Links: map[string]string{"sh": "bash", "awk": "gawk"},
		Place: place,
		Stages: []foundry.Stage{
			{Script: []string{"configure.sh"}, Check: checkConfig}, // seconds, before the minutes
			{Script: []string{"build.sh"}},
		},
		Finish: finish, Notable: notable,
	}
	var err, sumErr error
	r.Lock, err = Lock()
	r.SHA256, sumErr = foundry.Sum(sums, File)
	return r, errors.Join(err, sumErr)
}

// place unpacks the tarball that the source package holds.
func place(ctx context.Context, sources foundry.Sources, root *os.Root) (string, error) {
	p, err := sources.Only()
	if err != nil {
		return "", err
	}
	r, err := sources.Open(p)
	if err != nil {
		return "", err
	}
	below, err := root.OpenRoot(foundry.Dir)
	if err != nil {
		return "", err
	}
	defer below.Close()
	err = deb.Walk(r, deb.Decompress, func(e deb.Entry, content io.Reader) error {
		if err := ctx.Err(); err != nil || path.Base(e.Path) != p.Name+".tar.xz" {
			return err
		}
		return deb.UnpackTarball(e.Path, content, below)
	})
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", p.ID(), err)
	}
	if err := root.Rename(foundry.Dir+"/"+p.Name, sourceDir); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	return p.Name + " " + p.Version, nil
}

// checkConfig holds our options against the configuration that make made of
// them, and against the source.
func checkConfig(root *os.Root) error {
	fragment, err := Fragment()
	if err != nil {
		return err
	}
	text, err := root.ReadFile(sourceDir + "/.config")
	if err != nil {
		return fmt.Errorf("read kernel configuration: %w", err)
	}
	names := map[string]bool{}
	err = fs.WalkDir(root.FS(), sourceDir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(path.Base(name), "Kconfig") {
			return err
		}
		kconfig, err := root.ReadFile(name)
		declared(kconfig, names)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the options of the source: %w", err)
	}
	return judge(fragment, text, names)
}

// judge names every option of fragment that the configuration in text does not
// hold, or that is not in names, and every mitigation that fragment leaves out.
func judge(fragment []Option, text []byte, names map[string]bool) error {
	config, err := ParseFragment(text)
	if err != nil {
		return err
	}
	var wrong []string
	for _, o := range Unmet(fragment, config) {
		wrong = append(wrong, o.String()+": did not take effect")
	}
	unknown, forgotten := misjudged(fragment, names)
	for _, name := range unknown {
		wrong = append(wrong, name+": this source has no such option")
	}
	for _, name := range forgotten {
		wrong = append(wrong, name+": a mitigation that "+fragmentFile+" does not list")
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s does not fit this source, %d lines:\n%s", fragmentFile, len(wrong), strings.Join(wrong, "\n"))
	}
	return nil
}

// finish presets the header of the kernel that was built.
func finish(root *os.Root) ([]byte, error) {
	list, err := root.ReadFile(sourceDir + "/modules.builtin")
	if err != nil {
		return nil, fmt.Errorf("read what is built in: %w", err)
	}
	bzImage, err := root.ReadFile(sourceDir + "/arch/x86/boot/bzImage")
	if err != nil {
		return nil, fmt.Errorf("read the built kernel: %w", err)
	}
	if !bytes.Equal(list, builtin) {
		return nil, fmt.Errorf("the kernel's modules.builtin is not image/linux/modules.builtin, which has to be:\n%s", list)
	}
	return Preset(bzImage)
}

// notable finds what make says that it compiles: "  CC      kernel/fork.o".
func notable(line string) (string, bool) {
	fields := strings.Fields(line)
	if len(fields) != 2 || !strings.HasPrefix(line, "  ") {
		return "", false
	}
	return fields[1], fields[0] == "CC" || fields[0] == "AS"
}
