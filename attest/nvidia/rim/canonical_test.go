package rim

import "testing"

// TestCanonical holds canonicalisation to examples worked out by hand after
// Canonical XML 1.1, chapters 2.3 and 3.
func TestCanonical(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"empty element", `<a/>`, `<a></a>`},
		{"declaration and space around", "<?xml version='1.0' encoding=\"utf-8\"?>\n <a/> \n", `<a></a>`},
		{"byte order mark", "\xef\xbb\xbf<a/>", `<a></a>`},
		{"space in tags", "<a  b = 'x'\n\t></a >", `<a b="x"></a>`},
		{"attributes by name", `<a c="3" b="2" a="1"/>`, `<a a="1" b="2" c="3"></a>`},
		{
			"attributes by namespace, then name", `<a xmlns:z="urn:1" xmlns:b="urn:2" b:x="3" z:y="2" c="1"/>`,
			`<a xmlns:b="urn:2" xmlns:z="urn:1" c="1" z:y="2" b:x="3"></a>`,
		},
		{"default namespace first", `<a xmlns:b="urn:b" xmlns="urn:a"/>`, `<a xmlns="urn:a" xmlns:b="urn:b"></a>`},
		{"declared again", `<a xmlns="urn:a"><b xmlns="urn:a"/></a>`, `<a xmlns="urn:a"><b></b></a>`},
		{"default taken back", `<a xmlns="urn:a"><b xmlns=""><c/></b></a>`, `<a xmlns="urn:a"><b xmlns=""><c></c></b></a>`},
		{"nothing to take back", `<a xmlns=""><b xmlns=""/></a>`, `<a><b></b></a>`},
		{"another namespace and back", `<a xmlns:p="urn:1"><p:b xmlns:p="urn:2"/><p:c/></a>`, `<a xmlns:p="urn:1"><p:b xmlns:p="urn:2"></p:b><p:c></p:c></a>`},
		{"unused namespaces stay", `<a xmlns:p="urn:1"/>`, `<a xmlns:p="urn:1"></a>`},
		{"escapes in values", `<a b="&amp;&lt;&gt;&quot;&apos;'"/>`, `<a b="&amp;&lt;>&quot;''"></a>`},
		{"escapes in text", `<a>&amp;&lt;&gt;&quot;&apos;</a>`, `<a>&amp;&lt;&gt;"'</a>`},
		{"line ends", "<a>x\r\ny\rz</a>", "<a>x\ny\nz</a>"},
		{"white space in values", "<a b=\"x\ty\r\nz\"/>", `<a b="x y z"></a>`},
		{"white space in text", "<a> \t\n<b/> </a>", "<a> \t\n<b></b> </a>"},
		{"characters", `<a b="ä">–😀</a>`, `<a b="ä">–😀</a>`},
	} {
		root, err := parse([]byte(row.in))
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		got := string(canonical(root, nil))
		if got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		if again, err := parse([]byte(got)); err != nil || string(canonical(again, nil)) != got {
			t.Errorf("%s: the canonical form is not its own (%v)", row.name, err)
		}
	}
}

func TestCanonicalOfPart(t *testing.T) {
	root, err := parse([]byte(`<a xmlns="urn:a" xmlns:p="urn:1" xmlns:q="urn:q"><b xmlns:p="urn:2"><c x="1"><d/></c></b></a>`))
	if err != nil {
		t.Fatal(err)
	}
	b := root.children()[0]
	c := b.children()[0]
	const want = `<c xmlns="urn:a" xmlns:p="urn:2" xmlns:q="urn:q" x="1"><d></d></c>`
	if got := string(canonical(c, nil)); got != want {
		t.Errorf("part is %s, want %s", got, want)
	}
	const without = `<a xmlns="urn:a" xmlns:p="urn:1" xmlns:q="urn:q"><b xmlns:p="urn:2"></b></a>`
	if got := string(canonical(root, c)); got != without {
		t.Errorf("without the part it is %s, want %s", got, without)
	}
}
