package rim

import "strings"

// quoted reads an attribute's value. Tabs and line feeds count as spaces
// (XML 1.0, 3.3.3).
func (p *parser) quoted(n name) (string, error) {
	if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\'' {
		return "", malformed("the value of attribute %s is not quoted", n)
	}
	raw, rest, ok := strings.Cut(p.rest[1:], p.rest[:1])
	if !ok || strings.Contains(raw, "<") {
		return "", malformed("the value of attribute %s does not end", n)
	}
	p.rest = rest
	return unescape(strings.NewReplacer("\t", " ", "\n", " ").Replace(raw))
}

// text reads up to the next tag.
func (p *parser) text() (string, error) {
	end := strings.IndexByte(p.rest, '<')
	if end < 0 {
		return "", malformed("it ends inside an element")
	}
	raw := p.rest[:end]
	p.rest = p.rest[end:]
	if strings.Contains(raw, "]]>") {
		return "", malformed("its text holds ]]>")
	}
	return unescape(raw)
}

// name reads a qualified name of ASCII letters, digits, '.', '-' and '_'.
func (p *parser) name() (name, error) {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_:", r))
	})
	if end < 0 {
		end = len(p.rest)
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	prefix, local, prefixed := strings.Cut(text, ":")
	if !prefixed {
		prefix, local = "", text
	}
	good := func(s string) bool {
		return s != "" && !strings.Contains(s, ":") && strings.IndexByte(".-0123456789", s[0]) < 0
	}
	if !good(local) || prefixed && !good(prefix) || len(text) > maxName {
		return name{}, malformed("%.20q is no name that such documents use", text)
	}
	return name{prefix: prefix, local: local}, nil
}

func (p *parser) skip(s string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, s)
	return ok
}

func (p *parser) space() (any bool) {
	rest := strings.TrimLeft(p.rest, " \t\n")
	any = len(rest) < len(p.rest)
	p.rest = rest
	return any
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// unescape replaces the five predefined entities; there are no others.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "&") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		entity, rest, ended := strings.Cut(after, ";")
		character, known := entities[entity]
		if !ended || !known {
			return "", malformed("it holds the entity &%.10s;, which such documents never have", entity)
		}
		b.WriteString(character)
		s = rest
	}
}
