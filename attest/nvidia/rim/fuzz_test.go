package rim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// FuzzParse holds the parser to the standard library's, which knows more of
// XML: what this one reads, that one reads too, with as many elements; and the
// canonical form is its own.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`<a/>`, `<?xml version="1.0"?><a b="c">d</a>`, `<p:a xmlns:p="urn:1" p:b="&quot;"><p:a xmlns:p="urn:2"/>&gt;</p:a>`, "<a>\r\n</a>", `<a xmlns=""/>`,
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
		if want, got := count(t, form), elements(root); got != want {
			t.Fatalf("%q has %d elements, the standard library sees %d", b, got, want)
		}
	})
}

func elements(e *element) int {
	n := 1
	for _, c := range e.children() {
		n += elements(c)
	}
	return n
}

func count(t *testing.T, b []byte) (n int) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatalf("the standard library refuses %q: %v", b, err)
		}
		if _, ok := token.(xml.StartElement); ok {
			n++
		}
	}
}
