package rim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// FuzzParse holds the parser to the standard library's, which knows more of
// XML: what this one reads, that one reads too, and sees the same names,
// attributes and text. The canonical form is its own, and says the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`<a/>`, `<?xml version="1.0"?><a b="c">d</a>`, `<p:a xmlns:p="urn:1" p:b="&quot;"><p:a xmlns:p="urn:2"/>&gt;</p:a>`, "<a>\r\n</a>", `<a xmlns=""/>`,
		"<a>&amp;&lt;&apos;</a>", "<a b='x\ty'></a >", `<a>&amp lt;</a>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := parse(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		form := canonical(root, nil)
		again, err := parse(form)
		if err != nil || !bytes.Equal(canonical(again, nil), form) {
			t.Fatalf("%q has the canonical form %q, which is not its own (%v)", b, form, err)
		}
		got := seen(root)
		if want := seenByStandardLibrary(t, bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))); got != want {
			t.Fatalf("%q is read as %q, the standard library reads %q", b, got, want)
		}
		if want := seenByStandardLibrary(t, form); got != want {
			t.Fatalf("%q is read as %q, its canonical form is %q", b, got, want)
		}
	})
}

// seen lists what a tree says: elements by expanded name, values, text. White
// space in values is left out, which the standard library does not normalise.
func seen(e *element) string {
	var attributes []string
	for _, a := range e.attributes {
		attributes = append(attributes, fmt.Sprintf(" {%s}%s=%q", a.space, a.local, strings.Join(strings.Fields(a.value), "")))
	}
	slices.Sort(attributes)
	text := fmt.Sprintf("<{%s}%s%s>", e.space, e.local, strings.Join(attributes, ""))
	for _, c := range e.content {
		switch c := c.(type) {
		case string:
			text += c
		case *element:
			text += seen(c)
		}
	}
	return text + "</>"
}

func seenByStandardLibrary(t *testing.T, b []byte) (text string) {
	t.Helper()
	depth := 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		if err != nil {
			t.Fatalf("the standard library refuses %q: %v", b, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			var attributes []string
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
					attributes = append(attributes, fmt.Sprintf(" {%s}%s=%q", a.Name.Space, a.Name.Local, strings.Join(strings.Fields(a.Value), "")))
				}
			}
			slices.Sort(attributes)
			text += fmt.Sprintf("<{%s}%s%s>", token.Name.Space, token.Name.Local, strings.Join(attributes, ""))
		case xml.EndElement:
			depth--
			text += "</>"
		case xml.CharData:
			if depth > 0 {
				text += string(token)
			}
		}
	}
}
