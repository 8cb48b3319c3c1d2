package attest

import (
	"bytes"
	"encoding/pem"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// resigned replaces the signed bytes of a document and signs them again: what
// is then refused is refused for its form.
func (b bed) resigned(t testing.TB, key string, envelope []byte, change func(inner string) string) []byte {
	t.Helper()
	inner, _, err := collateral.Open(key, envelope)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(inner))
	if changed == string(inner) {
		t.Fatal("nothing was changed")
	}
	return collateral.Seal(key, []byte(changed), signDocument(t, b, []byte(changed)))
}

// TestK8_Documents: JSON that Intel never signs, signed by somebody who could.
func TestK8_Documents(t *testing.T) {
	b := newBed(t)
	replace := func(from, to string) func(string) string {
		return func(s string) string { return strings.Replace(s, from, to, 1) }
	}
	for _, row := range []struct {
		name   string
		change func(string) string
		want   vm.Code // "" where it means the same
	}{
		{"white space", replace(`{"id"`, "{ \n\t\"id\" "), ""},
		{"FMSPC in lower case, as Intel had it", replace(`"DE7E10000000"`, `"de7e10000000"`), ""},
		{"a field that is not known", replace(`{"id"`, `{"comment":{"a":[1,-2.5e3,null,true,"\u00e9"]},"id"`), ""},
		{"a field twice, alike", replace(`{"id":"TDX"`, `{"id":"TDX","id":"TDX"`), vm.CodeMalformed},
		{"a field twice, the last one good", replace(`{"id":"TDX"`, `{"id":"SGX","id":"TDX"`), vm.CodeMalformed},
		{"a level's status twice", replace(`"tcbStatus":"UpToDate"`, `"tcbStatus":"Revoked","tcbStatus":"UpToDate"`), vm.CodeMalformed},
		{"an unknown field twice", replace(`{"id"`, `{"x":1,"x":1,"id"`), vm.CodeMalformed},
		{"a name in another case", replace(`"fmspc"`, `"FMSPC"`), vm.CodeMalformed},
		{"a name with an escape", replace(`"fmspc"`, `"fmsp\u0063"`), vm.CodeMalformed},
		{"a field left out", replace(`"tcbType":0,`, ``), vm.CodeMalformed},
		{"no evaluation number", replace(`"tcbEvaluationDataNumber":1,`, ``), vm.CodeMalformed},
		{"no dates", replace(`"nextUpdate"`, `"nextupdate"`), vm.CodeMalformed},
		{"null for a number", replace(`"tcbType":0`, `"tcbType":null`), vm.CodeMalformed},
		{"null for the levels", replace(`"tcbLevels":[`, `"tcbLevels":null,"x":[`), vm.CodeMalformed},
		{"a fraction", replace(`"pcesvn":13`, `"pcesvn":13.0`), vm.CodeMalformed},
		{"an exponent", replace(`"pcesvn":13`, `"pcesvn":1e1`), vm.CodeMalformed},
		{"a leading zero", replace(`"pcesvn":13`, `"pcesvn":013`), vm.CodeMalformed},
		{"a negative number", replace(`"pcesvn":13`, `"pcesvn":-1`), vm.CodeMalformed},
		{"a number in quotes", replace(`"pcesvn":13`, `"pcesvn":"13"`), vm.CodeMalformed},
		{"a number without bounds", replace(`"pcesvn":13`, `"pcesvn":99999999999999999999999999`), vm.CodeMalformed},
		{"a date without a zone", func(s string) string { return strings.ReplaceAll(s, `Z"`, `"`) }, vm.CodeMalformed},
		{"a date that is none", replace(`2025-01-01`, `2025-02-30`), vm.CodeMalformed},
		{"FMSPC of five bytes", replace(`"DE7E10000000"`, `"DE7E100000"`), vm.CodeMalformed},
		{"a trailing comma", replace(`"UpToDate"}`, `"UpToDate",}`), vm.CodeMalformed},
		{"a comment", replace(`{"id"`, `{/**/"id"`), vm.CodeMalformed},
		{"a control character", replace(`"TDX"`, "\"TDX\x01\""), vm.CodeMalformed},
		{"not UTF-8", replace(`{"id"`, "{\"x\":\"\xff\",\"id\""), vm.CodeMalformed},
		{"nesting without end", replace(`{"id"`, `{"x":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`,"id"`), vm.CodeMalformed},
		{"twenty levels more", func(s string) string {
			at := strings.LastIndex(s, `{"tcb":`)
			end := strings.LastIndex(s, "]")
			return s[:end] + strings.Repeat(","+s[at:end], 20) + s[end:]
		}, ""},
		{"status of another case", replace(`"tcbStatus":"UpToDate"`, `"tcbStatus":"uptodate"`), vm.CodeMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := b.evidence(t)
			c := *ev.Collateral
			c.TCBInfo = b.resigned(t, collateral.KeyTCBInfo, c.TCBInfo, row.change)
			ev.Collateral = &c
			_, err := bothWays(t, ev, b.options)
			if row.want != "" {
				refused(t, err, row.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestK8_Envelopes: what stands around signed bytes has one form.
func TestK8_Envelopes(t *testing.T) {
	b := newBed(t)
	for _, row := range []struct {
		name   string
		change func(envelope []byte) []byte
	}{
		{"cut", func(e []byte) []byte { return e[:len(e)-1] }},
		{"trailing brace", func(e []byte) []byte { return append(e, '}') }},
		{"trailing zero", func(e []byte) []byte { return append(e, 0) }},
		{"two documents", func(e []byte) []byte { return append(e, e...) }},
		{"in an array", func(e []byte) []byte { return append(append([]byte("["), e...), ']') }},
		{"a third field", func(e []byte) []byte { return append(e[:len(e)-1], `,"x":1}`...) }},
		{"signature twice", func(e []byte) []byte {
			return append(e[:len(e)-1], `,"signature":"`+strings.Repeat("0", 128)+`"}`...)
		}},
		{"signature of 127 digits", func(e []byte) []byte { return append(e[:len(e)-3], `"}`...) }},
		{"only white space", func([]byte) []byte { return []byte(" \n") }},
		{"byte order mark", func(e []byte) []byte { return append([]byte("\ufeff"), e...) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := b.evidence(t)
			c := *ev.Collateral
			c.TCBInfo = row.change(bytes.Clone(c.TCBInfo))
			ev.Collateral = &c
			_, err := bothWays(t, ev, b.options)
			refused(t, err, vm.CodeMalformed)
		})
	}
}

// TestK8_Chains: PEM and DER in other forms than the one, and certificates in
// other places than their own.
func TestK8_Chains(t *testing.T) {
	b, other := newBed(t), newBed(t)
	root, ca, pck, signer := b.pki.Root.Cert.Raw, b.pki.PlatformCA.Cert.Raw, b.pki.PCK.Cert.Raw, b.pki.TCBSigner.Cert.Raw
	text := func(certs ...[]byte) string {
		var s strings.Builder
		for _, der := range certs {
			pem.Encode(&s, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
		return s.String()
	}
	sound := text(pck, ca, root)
	indefinite := slices.Concat(pck[:1], []byte{0x80}, pck[4:], []byte{0, 0})
	long := slices.Concat(pck[:1], []byte{0x83, 0}, pck[2:])
	for _, row := range []struct {
		name  string
		chain string
		want  vm.Code
	}{
		{"sound", sound, ""},
		{"line ends of another system", strings.ReplaceAll(sound, "\n", "\r\n"), ""},
		{"NUL behind it", sound + "\x00", ""},
		{"headers", strings.Replace(sound, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1), vm.CodeMalformed},
		{"text in front", "certificate:\n" + sound, vm.CodeMalformed},
		{"text behind", sound + "thank you\n", vm.CodeMalformed},
		{"another type", strings.ReplaceAll(sound, "CERTIFICATE", "X509 CRL"), vm.CodeMalformed},
		{"no end", strings.TrimSuffix(sound, "-----END CERTIFICATE-----\n"), vm.CodeMalformed},
		{"no line end behind the first line", strings.Replace(sound, "-----\n", "-----", 1), vm.CodeMalformed},
		{"space in the base64", strings.Replace(sound, "-----\n", "-----\n ", 1), vm.CodeMalformed},
		{"trailing bits in the base64", trailingBits(t, sound), vm.CodeMalformed},
		{"BER: indefinite length", text(indefinite, ca, root), vm.CodeMalformed},
		{"BER: long length", text(long, ca, root), vm.CodeMalformed},
		{"a byte behind the certificate", text(append(slices.Clone(pck), 0), ca, root), vm.CodeMalformed},
		{"cut certificate", text(pck[:len(pck)-1], ca, root), vm.CodeMalformed},
		{"order", text(ca, pck, root), vm.CodeChain},
		{"root first", text(root, ca, pck), vm.CodeChain},
		{"the same thrice", text(root, root, root), vm.CodeChain},
		{"TCB signer for PCK", text(signer, ca, root), vm.CodeChain},
		{"CA of another PKI", text(pck, other.pki.PlatformCA.Cert.Raw, root), vm.CodeSignature},
		{"PCK of another PKI", text(other.pki.PCK.Cert.Raw, ca, root), vm.CodeSignature},
		{"another PKI", text(other.pki.PCK.Cert.Raw, other.pki.PlatformCA.Cert.Raw, other.pki.Root.Cert.Raw), vm.CodeChain},
		{"two certificates", text(pck, root), vm.CodeMalformed},
		{"four certificates", text(pck, ca, root, root), vm.CodeTooLarge},
		{"none", "", vm.CodeMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := b.evidence(t)
			unsigned(t, &ev, func(q *tdx.Quote) { q.Signature.PCKChain = []byte(row.chain) })
			_, err := bothWays(t, ev, b.options)
			if row.want != "" {
				refused(t, err, row.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// trailingBits sets bits of the last base64 digit that stand for nothing.
func trailingBits(t *testing.T, chain string) string {
	t.Helper()
	for _, pad := range []string{"A==", "Q==", "g==", "w==", "A=\n", "E=\n", "I=\n", "M=\n", "Q=\n", "U=\n", "Y=\n", "c=\n", "g=\n", "k=\n", "o=\n", "s=\n", "w=\n", "0=\n", "4=\n", "8=\n"} {
		if strings.Contains(chain, pad) {
			return strings.Replace(chain, pad, string(pad[0]+1)+pad[1:], 1)
		}
	}
	t.Skip("no certificate of this PKI ends in padding")
	return ""
}

// TestK8_MemoryIsBounded: the largest input that is read costs a small
// multiple of its size, whatever is in it.
func TestK8_MemoryIsBounded(t *testing.T) {
	b := newBed(t)
	fill := func(unit string) []byte { return []byte(strings.Repeat(unit, vm.MaxCollateralSize/2/len(unit))) }
	for name, inner := range map[string]string{
		"levels":     `{"tcbLevels":[` + string(fill(`{"tcb":{"pcesvn":1,"sgxtcbcomponents":[]},"tcbDate":"2025-01-01T00:00:00Z","tcbStatus":"x"},`)),
		"components": `{"tcbLevels":[{"tcb":{"sgxtcbcomponents":[` + string(fill(`{"svn":1},`)),
		"advisories": `{"tcbLevels":[{"advisoryIDs":[` + string(fill(`"a",`)),
		"names":      `{` + string(fill(`"a":1,`)),
		"nesting":    `{"a":` + string(fill(`[`)),
		"text":       `{"a":"` + string(fill(`\"`)),
	} {
		t.Run(name, func(t *testing.T) {
			ev := b.evidence(t)
			c := *ev.Collateral
			c.TCBInfo = collateral.Seal(collateral.KeyTCBInfo, []byte(inner), signDocument(t, b, []byte(inner)))
			ev.Collateral = &c
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Verify(ev, b.options)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("accepted")
			}
			if size := after.TotalAlloc - before.TotalAlloc; size > 4*vm.MaxCollateralSize {
				t.Errorf("%d bytes for an input of %d", size, len(inner))
			}
		})
	}
}

// TestOtherPeoplesCollateral: genuine, current, and about somebody else.
func TestOtherPeoplesCollateral(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	b.issue(t, &ev, func(p *emulator.Plan) { p.TCBInfo.FMSPC = []byte{0x00, 0x80, 0x6f, 0x05, 0, 0} })
	_, err := bothWays(t, ev, b.options)
	if r := refused(t, err, vm.CodeCollateral); r.Found != "00806F050000" || r.Wanted != "DE7E10000000" || !strings.Contains(r.Hint, "de7e10000000") {
		t.Errorf("refusal %+v", r)
	}
}
