package archive

import (
	"path"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
)

// source is one entry of apt's configuration.
type source struct {
	uris     []string
	suites   []string
	signedBy string
}

// archive says which of our archives a source mirrors. Debian's archives end in
// their name on every mirror; what is signed by anybody else's key only looks
// like one.
func (s source) archive() (string, bool) {
	if s.signedBy != "" && !strings.Contains(s.signedBy, "debian-archive") {
		return "", false
	}
	security := slices.ContainsFunc(s.suites, func(suite string) bool {
		return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
	})
	for _, uri := range s.uris {
		last := strings.TrimSuffix(path.Base(strings.TrimRight(uri, "/")), ".list")
		switch {
		case security || last == Security:
			return Security, true
		case last == Debian:
			return Debian, true
		}
	}
	return "", false
}

// parseOneLine reads the one-line style: deb [options] URI suite components….
func parseOneLine(text string) []source {
	var out []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || (line != "" && line[0] != ' ' && line[0] != '\t') {
			continue
		}
		var s source
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			options, rest, ok := strings.Cut(line[1:], "]")
			if !ok {
				continue
			}
			for _, option := range strings.Fields(options) {
				if value, ok := strings.CutPrefix(strings.ToLower(option), "signed-by="); ok {
					s.signedBy = value
				}
			}
			line = rest
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		s.uris, s.suites = fields[:1], fields[1:2]
		out = append(out, s)
	}
	return out
}

// parseDeb822 reads the deb822 style; what follows a malformed paragraph is lost,
// as it is to apt.
func parseDeb822(text string) []source {
	var out []source
	stanzas := deb.NewStanzas(strings.NewReader(text))
	for {
		stanza, err := stanzas.Next()
		if err != nil {
			return out
		}
		if strings.EqualFold(stanza["enabled"], "no") || !slices.Contains(strings.Fields(stanza["types"]), "deb") {
			continue
		}
		out = append(out, source{
			uris:     strings.Fields(stanza["uris"]),
			suites:   strings.Fields(stanza["suites"]),
			signedBy: stanza["signed-by"],
		})
	}
}
