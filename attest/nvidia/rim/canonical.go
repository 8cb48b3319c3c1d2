package rim

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// Escapes of Canonical XML 1.1, 2.3.
var (
	escapeValue = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
	escapeText  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
)

// canonical returns the Canonical XML 1.1 form, without comments, of the
// element and all below it but the element without. For the root that is the
// form of the document; for another one it carries the namespaces in scope, as
// inclusive canonicalisation of a part does. Version 1.0 gives the same bytes,
// since documents with xml:… attributes are refused.
func canonical(e, without *element) []byte {
	var b bytes.Buffer
	scope := map[string]string{}
	for at := e.parent; at != nil; at = at.parent {
		for _, d := range at.declarations {
			if _, nearer := scope[d.prefix]; !nearer {
				scope[d.prefix] = d.space
			}
		}
	}
	// Nothing has been output yet, so all of scope is due at e.
	write(&b, e, without, map[string]string{}, scope)
	return b.Bytes()
}

// write outputs e. Written holds the namespaces that are in force in the
// output, inherited those in scope that are not; both are by prefix.
func write(b *bytes.Buffer, e, without *element, written, inherited map[string]string) {
	scope := make(map[string]string, len(written)+len(e.declarations))
	for _, from := range []map[string]string{written, inherited} {
		for prefix, space := range from {
			scope[prefix] = space
		}
	}
	for _, d := range e.declarations {
		scope[d.prefix] = d.space
	}
	b.WriteString("<" + e.name.String())
	for _, prefix := range slices.Sorted(maps.Keys(scope)) {
		space := scope[prefix]
		if before, ok := written[prefix]; ok && before == space || !ok && prefix == "" && space == "" {
			continue
		}
		label := "xmlns"
		if prefix != "" {
			label += ":" + prefix
		}
		b.WriteString(" " + label + `="` + escapeValue.Replace(space) + `"`)
	}
	attributes := slices.Clone(e.attributes)
	slices.SortFunc(attributes, func(x, y attribute) int {
		if c := strings.Compare(x.space, y.space); c != 0 {
			return c
		}
		return strings.Compare(x.local, y.local)
	})
	for _, a := range attributes {
		b.WriteString(" " + a.name.String() + `="` + escapeValue.Replace(a.value) + `"`)
	}
	b.WriteString(">")
	for _, c := range e.content {
		switch c := c.(type) {
		case string:
			b.WriteString(escapeText.Replace(c))
		case *element:
			if c != without {
				write(b, c, without, scope, nil)
			}
		}
	}
	b.WriteString("</" + e.name.String() + ">")
}
