package linux

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Option is one line of a kernel configuration.
type Option struct {
	Name  string // with CONFIG_
	Value string // as the file has it: y, 256, "text"; "" if it is not set
}

// String is the option as a configuration file has it.
func (o Option) String() string {
	if o.Value == "" {
		return "# " + o.Name + " is not set"
	}
	return o.Name + "=" + o.Value
}

var (
	setPattern   = regexp.MustCompile(`^(CONFIG_[A-Z0-9][A-Za-z0-9_]*)=(\S.*)$`)
	unsetPattern = regexp.MustCompile(`^# (CONFIG_[A-Z0-9][A-Za-z0-9_]*) is not set$`)
)

// ParseFragment reads a list of options. A line that is neither an option nor a
// comment, and an option that is there twice, are errors; so is a comment that
// only nearly switches an option off.
func ParseFragment(text []byte) ([]Option, error) {
	var out []Option
	seen := map[string]bool{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := strings.TrimRight(string(line), "\n")
		var o Option
		if m := setPattern.FindStringSubmatch(s); m != nil {
			o = Option{m[1], m[2]}
		} else if m := unsetPattern.FindStringSubmatch(s); m != nil {
			o = Option{Name: m[1]}
		} else if s == "" || strings.HasPrefix(s, "#") && !strings.Contains(s, "CONFIG_") {
			continue
		} else {
			return nil, fmt.Errorf("kernel configuration, line %d: %q is neither an option nor a comment", n, s)
		}
		if seen[o.Name] {
			return nil, fmt.Errorf("kernel configuration, line %d: %s is there twice", n, o.Name)
		}
		seen[o.Name] = true
		out = append(out, o)
	}
	return out, nil
}

// Unmet returns the options of fragment that config does not hold: make ignores
// what it does not know and what depends on something that is off, and says
// nothing. An option that is to be off may be absent from config.
func Unmet(fragment, config []Option) []Option {
	values := map[string]string{}
	for _, o := range config {
		values[o.Name] = o.Value
	}
	return slices.DeleteFunc(slices.Clone(fragment), func(o Option) bool { return values[o.Name] == o.Value })
}

var kconfigPattern = regexp.MustCompile(`(?m)^\s*(?:menu)?config[ \t]+([A-Z0-9][A-Za-z0-9_]*)[ \t]*$`)

// declared adds the options that a Kconfig file declares to names, with CONFIG_.
func declared(kconfig []byte, names map[string]bool) {
	for _, m := range kconfigPattern.FindAllSubmatch(kconfig, -1) {
		names["CONFIG_"+string(m[1])] = true
	}
}

// mitigation begins the names of options against what processors leak.
const mitigation = "CONFIG_MITIGATION_"

// misjudged compares fragment with all options that the source declares: it
// returns the names that there are not (misspelt, or gone), and mitigations that
// the fragment leaves out, which allnoconfig would switch off.
func misjudged(fragment []Option, names map[string]bool) (unknown, forgotten []string) {
	listed := map[string]bool{}
	for _, o := range fragment {
		listed[o.Name] = true
		if !names[o.Name] {
			unknown = append(unknown, o.Name)
		}
	}
	for name := range names {
		if strings.HasPrefix(name, mitigation) && !listed[name] {
			forgotten = append(forgotten, name)
		}
	}
	slices.Sort(forgotten)
	return unknown, forgotten
}
