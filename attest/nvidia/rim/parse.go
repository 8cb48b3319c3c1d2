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
