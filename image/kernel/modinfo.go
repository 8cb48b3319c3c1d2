// Package kernel picks the modules that an image needs from a Debian kernel
// package: it reads .modinfo from the modules themselves and resolves
// dependencies, so that neither depmod nor modprobe is needed anywhere.
package kernel

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// Info is what a module says of itself in its .modinfo section: NUL-terminated
// key=value strings (Linux include/linux/moduleinfo.h).
type Info struct {
	Name    string   // with underscores, as the kernel spells it
	Depends []string // modules whose symbols it uses
	Soft    []string // modules that it wants loaded before it (softdep pre:)
	Version string   // vermagic
}

// ParseModule reads the .modinfo section of an uncompressed module.
func ParseModule(b []byte) (info Info, err error) {
	// debug/elf promises errors and no panics, but has broken that before.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read module: malformed ELF: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return info, fmt.Errorf("read module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return info, errors.New("read module: there is no .modinfo section")
	}
	data, err := section.Data()
	if err != nil {
		return info, fmt.Errorf("read module: .modinfo: %w", err)
	}
	return parseInfo(data)
}

func parseInfo(data []byte) (Info, error) {
	var info Info
	for field := range bytes.SplitSeq(data, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		switch key {
		case "name":
			info.Name = canonical(value)
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					info.Depends = append(info.Depends, canonical(name))
				}
			}
		case "softdep":
			info.Soft = append(info.Soft, softBefore(value)...)
		case "vermagic":
			info.Version, _, _ = strings.Cut(value, " ")
		}
	}
	if info.Name == "" {
		return info, errors.New("read module: .modinfo has no name")
	}
	return info, nil
}

// softBefore reads "pre: a b post: c" and returns a and b.
func softBefore(value string) []string {
	var out []string
	before := false
	for _, word := range strings.Fields(value) {
		switch {
		case strings.HasSuffix(word, ":"):
			before = word == "pre:"
		case before:
			out = append(out, canonical(word))
		}
	}
	return out
}

// canonical spells a module's name as the kernel does.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
