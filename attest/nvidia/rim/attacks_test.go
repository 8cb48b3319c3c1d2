package rim_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/vm"
)

func document(t testing.TB, d nvidiatest.Document) string {
	t.Helper()
	p, err := nvidiatest.New(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if d.Golden == nil {
		d.Golden = nvidiatest.Golden(1, 2)
	}
	d.Product, d.Version = "GH100", "1.0"
	b, err := p.RIM(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var signature = regexp.MustCompile(`(?s)<ds:Signature .*</ds:Signature>`)

// TestWrapping changes sound documents in ways that leave the signature itself
// alone: what it covers, where it stands, and how the document is read.
func TestWrapping(t *testing.T) {
	sound := document(t, nvidiatest.Document{})
	sig := signature.FindString(sound)
	body := strings.Replace(sound, sig, "", 1)
	const evil = `<ns0:Payload><ns0:Resource active="False" alternatives="1" index="1" name="x" size="48" type="Measurement"/></ns0:Payload>`
	before := func(mark, insert string) string { return strings.Replace(sound, mark, insert+mark, 1) }
	replace := func(from, to string) string {
		if !strings.Contains(sound, from) {
			t.Fatalf("the document lacks %q", from)
		}
		return strings.Replace(sound, from, to, 1)
	}
	if _, err := rim.Open([]byte(sound)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, document string
		want           vm.Code
	}{
		{"second payload in front", before("<ns0:Payload>", evil), vm.CodeSignature},
		{"second payload behind", before("<ds:Signature ", evil), vm.CodeSignature},
		{"payload inside the signature", before("</ds:Signature>", "<ds:Object>"+evil+"</ds:Object>"), vm.CodeMalformed},
		{"payload in KeyInfo", before("</ds:KeyInfo>", evil), vm.CodeMalformed},
		{"payload in SignedInfo", before("</ds:SignedInfo>", evil), vm.CodeMalformed},
		{"payload among certificates", before("</ds:X509Data>", evil), vm.CodeMalformed},
		{"wrapped in another root", `<x>` + sound + `</x>`, vm.CodeMalformed},
		{"the signed document as an object", `<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd">` + sound + `</SoftwareIdentity>`, vm.CodeMalformed},
		{"signature moved into the payload", strings.Replace(body, "</ns0:Payload>", sig+"</ns0:Payload>", 1), vm.CodeMalformed},
		{"two signatures", before("</SoftwareIdentity>", sig), vm.CodeMalformed},
		{"no signature", body, vm.CodeSignature},
		{"signature in another namespace", strings.ReplaceAll(sound, "http://www.w3.org/2000/09/xmldsig#\"><ds:S", "urn:x\"><ds:S"), vm.CodeSignature},
		{"reference to a part", replace(`URI=""`, `URI="#payload"`), vm.CodeMalformed},
		{"reference without URI", replace(` URI=""`, ``), vm.CodeMalformed},
		{"two references", before("</ds:SignedInfo>", `<ds:Reference URI=""></ds:Reference>`), vm.CodeMalformed},
		{"transform that drops things", replace(`http://www.w3.org/2006/12/xml-c14n11"></ds:Transform>`, `http://www.w3.org/TR/1999/REC-xpath-19991116"></ds:Transform>`), vm.CodeSignature},
		{"comments counted", replace(`xml-c14n11"></ds:Transform>`, `xml-c14n11#WithComments"></ds:Transform>`), vm.CodeSignature},
		{"weaker digest", replace(`xmldsig-more#sha384`, `xmldsig#sha1`), vm.CodeSignature},
		{"HMAC with a public value", replace(`http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384`, `http://www.w3.org/2000/09/xmldsig#hmac-sha1`), vm.CodeSignature},
		{"comment", before("<ns0:Payload>", "<!-- x -->"), vm.CodeMalformed},
		{"comment inside a value's element", before("</ds:DigestValue>", "<!---->"), vm.CodeMalformed},
		{"processing instruction", before("<ns0:Payload>", "<?x y?>"), vm.CodeMalformed},
		{"CDATA", before("<ns0:Payload>", "<![CDATA[ ]]>"), vm.CodeMalformed},
		{"DTD", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + sound, vm.CodeMalformed},
		{"DTD inside", before("<ns0:Payload>", `<!DOCTYPE x>`), vm.CodeMalformed},
		{"entity", before("<ns0:Payload>", "&e;"), vm.CodeMalformed},
		{"two entities in one", before("<ns0:Payload>", "&amp lt;"), vm.CodeMalformed},
		{"entity that does not end", before("<ns0:Payload>", "&amp"), vm.CodeMalformed},
		{"character reference", before("<ns0:Payload>", "&#x20;"), vm.CodeMalformed},
		{"other encoding", `<?xml version="1.0" encoding="UTF-16"?>` + sound, vm.CodeMalformed},
		{"XML 1.1", `<?xml version="1.1"?>` + sound, vm.CodeMalformed},
		{"another root behind", sound + `<x/>`, vm.CodeMalformed},
		{"text behind", sound + `x`, vm.CodeMalformed},
		{"attribute twice", replace(` index="1"`, ` index="1" index="2"`), vm.CodeMalformed},
		{"attribute twice, by two prefixes", replace(` ns2:Hash0=`, ` xmlns:n3="http://www.w3.org/2001/04/xmlenc#sha384" n3:Hash0="00" ns2:Hash0=`), vm.CodeMalformed},
		{"attribute added", replace(` index="1"`, ` index="1" x="y"`), vm.CodeSignature},
		{"inactive", replace(`active="True"`, `active="False"`), vm.CodeSignature},
		{"element renamed", strings.Replace(strings.Replace(sound, "<ns0:Payload>", "<ns0:Evidence>", 1), "</ns0:Payload>", "</ns0:Evidence>", 1), vm.CodeSignature},
		{"prefix that is not declared", replace("<ns0:Payload>", "<ns9:Payload>"), vm.CodeMalformed},
		{"base that is inherited", replace("<ns0:Payload>", `<ns0:Payload xml:base="urn:x">`), vm.CodeMalformed},
		{"NUL", before("<ns0:Payload>", "\x00"), vm.CodeMalformed},
		{"no UTF-8", before("<ns0:Payload>", "\xff"), vm.CodeMalformed},
		{"tag that does not end", sound[:len(sound)-1], vm.CodeMalformed},
		{"empty", "", vm.CodeMalformed},
		{"too large", sound + strings.Repeat(" ", 256<<10), vm.CodeTooLarge},
		{"too deep", strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40), vm.CodeTooLarge},
		{"too many elements", "<a>" + strings.Repeat("<a/>", 10000) + "</a>", vm.CodeTooLarge},
		{"name too long", "<" + strings.Repeat("a", 200) + "/>", vm.CodeMalformed},
		{"too many attributes", "<a " + manyAttributes(200) + "/>", vm.CodeTooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, err := rim.Open([]byte(row.document))
			var r *vm.Refusal
			if !errors.As(err, &r) || r.Code != row.want {
				t.Fatalf("%v, want a refusal with %s", err, row.want)
			}
			if len(d.Golden) > 0 {
				t.Error("a refusal comes with measurements")
			}
		})
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d=""`, i)
	}
	return b.String()
}

// TestSignedButOdd: documents that are signed by a good key and still say
// nothing that may be relied upon.
func TestSignedButOdd(t *testing.T) {
	resource := func(attributes string) nvidiatest.Document {
		return nvidiatest.Document{Golden: []rim.Golden{}, Extra: "<ns0:Resource " + attributes + "></ns0:Resource>"}
	}
	hash := strings.Repeat("00", 48)
	const measured = ` name="Measurement_3" size="48" type="Measurement"`
	for _, row := range []struct {
		name     string
		document nvidiatest.Document
		says     string
	}{
		{"nothing active", resource(`active="False" alternatives="1" index="3"` + measured + ` ns2:Hash0="` + hash + `"`), "asks for nothing"},
		{"no payload at all", nvidiatest.Document{Golden: []rim.Golden{}}, "asks for nothing"},
		{"unknown condition", nvidiatest.Document{Extra: `<ns0:Resource type="MinSVN"></ns0:Resource>`}, "newer than this verifier"},
		{"unknown element", nvidiatest.Document{Extra: `<ns0:File></ns0:File>`}, "newer than this verifier"},
		{"measurement twice", nvidiatest.Document{Golden: append(nvidiatest.Golden(1), nvidiatest.Golden(1)...)}, "twice"},
		{"no value", resource(`active="True" alternatives="0" index="3"` + measured), "0 values"},
		{"value missing", resource(`active="True" alternatives="2" index="3"` + measured + ` ns2:Hash0="` + hash + `"`), "value 1"},
		{"value in no namespace", resource(`Hash0="` + hash + `" active="True" alternatives="1" index="3"` + measured), "value 0"},
		{"short value", resource(`active="True" alternatives="1" index="3"` + measured + ` ns2:Hash0="00"`), "value 0"},
		{"too many values", resource(`active="True" alternatives="65" index="3"` + measured), "up to 64"},
		{"index beyond", resource(`active="True" alternatives="1" index="300"` + measured), "up to 253"},
		{"negative index", resource(`active="True" alternatives="1" index="-1"` + measured), "index"},
		{"neither active nor not", resource(`active="yes" alternatives="1" index="3"` + measured + ` ns2:Hash0="` + hash + `"`), "active"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := rim.Open([]byte(document(t, row.document)))
			if vm.CodeOf(err) != vm.CodeMalformed || !strings.Contains(err.Error(), row.says) {
				t.Fatalf("%v, want malformed, %q", err, row.says)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(document(f, nvidiatest.Document{}))
	f.Add("<?xml version='1.0'?><a xmlns='urn:a' xmlns:p=\"urn:p\" p:b='&amp;'>&lt;<p:c/></a>")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := rim.Open([]byte(s))
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("no refusal: %v", err)
			}
		} else if len(d.Certs) == 0 || len(d.Golden) == 0 {
			t.Error("a document without signer or measurements is accepted")
		}
		_, _, _ = rim.Claim([]byte(s))
		_, _ = rim.Signers([]byte(s))
	})
}
