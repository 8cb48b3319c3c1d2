package rim

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/secretvm/secretvm/vm"
)

// parser reads a document of the profile that the package comment describes.
type parser struct {
	rest  string
	nodes int
}

// parse returns the root element of a document.
func parse(b []byte) (*element, error) {
	if len(b) > maxSize {
		return nil, vm.Refuse(vm.CodeTooLarge, "reference document has %d bytes, want at most %d", len(b), maxSize)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	// Line ends become line feeds before anything else (XML 1.0, 2.11).
	b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	for s := b; len(s) > 0; {
		r, size := utf8.DecodeRune(s)
		if r == utf8.RuneError && size <= 1 || r < ' ' && r != '\t' && r != '\n' || r == '\ufffe' || r == '\uffff' {
			return nil, malformed("it holds the byte %#x, which is no character", s[0])
		}
		s = s[size:]
	}
	p := &parser{rest: string(b)}
	if err := p.prolog(); err != nil {
		return nil, err
	}
	root, err := p.tree()
	if err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, malformed("something follows the root element: %.20q", p.rest)
	}
	return root, nil
}

// prolog skips an XML declaration of version 1.0 in UTF-8.
func (p *parser) prolog() error {
	if strings.HasPrefix(p.rest, "<?xml") {
		declaration, rest, ok := strings.Cut(p.rest, "?>")
		fields := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(declaration, "<?xml"), "'", `"`))
		for i, f := range fields {
			ok = ok && (i == 0 && f == `version="1.0"` || i == 1 && strings.EqualFold(f, `encoding="UTF-8"`) || i == 2 && f == `standalone="no"`)
		}
		if !ok || len(fields) == 0 || len(declaration) > 100 {
			return malformed("its XML declaration is not of version 1.0 in UTF-8")
		}
		p.rest = rest
	}
	p.space()
	return nil
}

// tree reads an element and all below it, without recursion.
func (p *parser) tree() (*element, error) {
	var root, open *element
	for depth := 0; ; {
		switch {
		case open != nil && !strings.HasPrefix(p.rest, "<"):
			text, err := p.text()
			if err != nil {
				return nil, err
			}
			open.content = append(open.content, text)
		case strings.HasPrefix(p.rest, "</"):
			if open == nil {
				return nil, malformed("it begins with an end tag")
			}
			if err := p.end(open); err != nil {
				return nil, err
			}
			if depth, open = depth-1, open.parent; open == nil {
				return root, nil
			}
		default:
			e, empty, err := p.start(open)
			if err != nil {
				return nil, err
			}
			if open != nil {
				open.content = append(open.content, e)
			} else {
				root = e
			}
			if empty && open == nil {
				return root, nil
			}
			if !empty {
				if depth, open = depth+1, e; depth > maxDepth {
					return nil, vm.Refuse(vm.CodeTooLarge, "reference document is nested deeper than %d elements", maxDepth)
				}
			}
		}
	}
}

// start reads a start tag or an empty element, <a/>.
func (p *parser) start(parent *element) (e *element, empty bool, err error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, false, vm.Refuse(vm.CodeTooLarge, "reference document has more than %d elements", maxNodes)
	}
	if !p.skip("<") {
		return nil, false, malformed("an element is missing: %.20q", p.rest)
	}
	if p.rest != "" && strings.IndexByte("!?", p.rest[0]) >= 0 {
		return nil, false, malformed("it holds a comment, DTD, CDATA section or processing instruction, which such documents never have: <%.20s", p.rest)
	}
	e = &element{parent: parent}
	if e.name, err = p.name(); err != nil {
		return nil, false, err
	}
	for {
		spaced := p.space()
		switch {
		case p.skip("/>"):
			return e, true, e.bind()
		case p.skip(">"):
			return e, false, e.bind()
		case !spaced:
			return nil, false, malformed("the tag of element %s goes on with %.20q", e.name, p.rest)
		}
		if err := p.attribute(e); err != nil {
			return nil, false, err
		}
	}
}

// attribute reads an attribute or a namespace declaration into e.
func (p *parser) attribute(e *element) error {
	n, err := p.name()
	if err != nil {
		return err
	}
	p.space()
	if !p.skip("=") {
		return malformed("attribute %s has no value", n)
	}
	p.space()
	value, err := p.quoted(n)
	if err != nil {
		return err
	}
	if len(e.attributes)+len(e.declarations) >= maxAttributes {
		return vm.Refuse(vm.CodeTooLarge, "element %s has more than %d attributes", e.name, maxAttributes)
	}
	switch {
	case n.prefix == "xmlns" && value == "":
		return malformed("it takes back the prefix %s", n.local)
	case n.prefix == "xmlns":
		e.declarations = append(e.declarations, declaration{n.local, value})
	case n.prefix == "" && n.local == "xmlns":
		e.declarations = append(e.declarations, declaration{"", value})
	default:
		e.attributes = append(e.attributes, attribute{n, value})
	}
	return nil
}

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

func (p *parser) end(open *element) error {
	p.skip("</")
	n, err := p.name()
	if err != nil {
		return err
	}
	p.space()
	if n.prefix != open.prefix || n.local != open.local || !p.skip(">") {
		return malformed("element %s ends with tag %s", open.name, n)
	}
	return nil
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
		entity, rest, _ := strings.Cut(after, ";")
		i := strings.Index(" amp lt gt quot apos ", " "+entity+" ")
		if i < 0 || entity == "" {
			return "", malformed("it holds the entity &%.10s;, which such documents never have", entity)
		}
		b.WriteString(map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}[entity])
		s = rest
	}
}
