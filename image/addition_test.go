package image

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/image/lock"
)

// TestDevSource: the image for development is the base image and more, under
// another name.
func TestDevSource(t *testing.T) {
	base, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := DevSource()
	if err != nil {
		t.Fatal(err)
	}
	if !dev.Spec.dev || base.Spec.dev || dev.Spec.Name == base.Spec.Name || dev.Spec.CommandLine != base.Spec.CommandLine || dev.Spec.salt() == base.Spec.salt() {
		t.Errorf("dev is %+v", dev.Spec)
	}
	if !bytes.HasPrefix(dev.SpecBytes, base.SpecBytes) || len(dev.SpecBytes) == len(base.SpecBytes) {
		t.Error("the key of the image does not know both specifications")
	}
	for name, program := range dev.Spec.Rootfs.Programs {
		if _, of := base.Spec.Rootfs.Programs[name]; of == (program == "./cmd/guest-dev") {
			t.Errorf("%s is %s, in the base image: %t", name, program, of)
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(dev.Spec.Rootfs.Programs)), "./cmd/guest-dev") {
		t.Error("nothing takes commands")
	}
	names := func(s Source) (out []string) {
		for _, p := range s.Lock.Groups[lock.Guest] {
			out = append(out, p.Name)
		}
		return out
	}
	before, after := names(base), names(dev)
	if !slices.Equal(after[:len(before)], before) || !slices.Contains(after, "busybox-static") || slices.Contains(before, "busybox-static") {
		t.Errorf("packages are %q, of the base image %q", after, before)
	}
}

func TestAdditionsAddOnly(t *testing.T) {
	for text, wantErr := range map[string]string{
		"base: base\nname: x\n":                              "",
		"base: other\nname: x\n":                             "what is added",
		"base: base\nname: x\ncommand_line: quiet\n":         "what is added",
		"base: base\nname: x\nepoch: 1\n":                    "what is added",
		"base: base\nname: x\nrootfs: { drop: [a] }\n":       "what is added",
		"base: base\nname: x\nrootfs: { modules: [a] }\n":    "what is added",
		"base: base\nname: x\ninitramfs: { modules: [a] }\n": "what is added",
	} {
		_, err := ParseSpec([]byte(text))
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("%q: %v, want %q", text, err, wantErr)
		}
	}
	base, err := BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	more := Source{Spec: Spec{Name: "x", Rootfs: RootfsSpec{Links: map[string]string{"bin": "elsewhere"}}}}
	if _, err := base.with(more); err == nil || !strings.Contains(err.Error(), "base has bin already") {
		t.Errorf("a link in place of another: %v", err)
	}
}
