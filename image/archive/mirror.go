package archive

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The archives that a lock names. Their hosts are never in this repository:
// they come from the machine's own apt configuration or from the user.
const (
	Debian   = "debian"
	Security = "debian-security"
)

// Mirrors are base URLs by archive, in the order in which they are tried.
type Mirrors map[string][]string

// MirrorsVariable names the environment variable that replaces what apt's
// configuration says: ARCHIVE=URL, separated by blanks or commas.
const MirrorsVariable = "SECRETVM_MIRRORS"

// FindMirrors returns the mirrors to use: extra (each ARCHIVE=URL) first, then
// those of env, or without it those that apt's configuration below etc
// ("/etc/apt") names.
func FindMirrors(extra []string, env, etc string) (Mirrors, error) {
	m := Mirrors{}
	for _, list := range [][]string{extra, strings.FieldsFunc(env, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' })} {
		for _, setting := range list {
			archive, base, ok := strings.Cut(setting, "=")
			if !ok || (archive != Debian && archive != Security) || !isHTTP(base) {
				return nil, fmt.Errorf("mirror %q: want %s=http(s)://… or %s=http(s)://…", setting, Debian, Security)
			}
			m.add(archive, base)
		}
	}
	if env == "" {
		if err := m.addApt(etc); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Of returns the mirrors of one archive, or an error that says how to name some.
func (m Mirrors) Of(archive string) ([]string, error) {
	if len(m[archive]) == 0 {
		return nil, fmt.Errorf("no mirror of %s is known: apt's configuration names none; "+
			"try --mirror %s=URL, or set %s", archive, archive, MirrorsVariable)
	}
	return m[archive], nil
}

func (m Mirrors) add(archive, base string) {
	base = strings.TrimRight(base, "/")
	if !slices.Contains(m[archive], base) {
		m[archive] = append(m[archive], base)
	}
}

// addApt reads sources.list, sources.list.d/*.list and sources.list.d/*.sources
// (sources.list(5)). A missing or unreadable file is as good as an empty one:
// hosts that are not Debian have none.
func (m Mirrors) addApt(etc string) error {
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return fmt.Errorf("list apt sources: %w", err)
	}
	for _, name := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		var sources []source
		switch filepath.Ext(name) {
		case ".list":
			sources = parseOneLine(string(text))
		case ".sources":
			sources = parseDeb822(string(text))
		}
		for _, s := range sources {
			if archive, ok := s.archive(); ok {
				for _, uri := range s.uris {
					for _, base := range expandMirrorFile(uri) {
						m.add(archive, base)
					}
				}
			}
		}
	}
	return nil
}

// expandMirrorFile resolves apt's mirror+file: scheme (apt-transport-mirror(1)),
// which Debian's cloud images use; other schemes than HTTP give nothing.
func expandMirrorFile(uri string) []string {
	if isHTTP(uri) {
		return []string{uri}
	}
	rest, ok := strings.CutPrefix(uri, "mirror+file:")
	if !ok {
		return nil
	}
	text, err := os.ReadFile("/" + strings.TrimLeft(rest, "/"))
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && isHTTP(fields[0]) {
			out = append(out, fields[0])
		}
	}
	return out
}

func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
