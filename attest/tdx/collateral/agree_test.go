package collateral_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
)

const vectors = "../../../../shared/vectors/"

// intelDocuments are the TCB infos and QE identities of the vectors, without
// their envelopes, by identifier.
func intelDocuments(t testing.TB) (documents [][2]string) {
	t.Helper()
	if _, err := os.Stat(vectors); err != nil {
		return nil
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(vectors + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, name := range []string{"tdx_quote_collateral.json", "tdx_quote_outdated_collateral.json", "sgx_quote_collateral.json"} {
		var f map[string]string
		if err := json.Unmarshal(file("dcap-qvl/sample/"+name), &f); err != nil {
			t.Fatal(err)
		}
		tdx := !strings.HasPrefix(name, "sgx")
		id, qe := collateral.IDSGX, collateral.IDQE
		if tdx {
			id, qe = collateral.IDTDX, collateral.IDTDQE
		}
		documents = append(documents, [2]string{id, f["tcb_info"]}, [2]string{qe, f["qe_identity"]})
	}
	for _, name := range []string{
		"trustee/deps/verifier/test_data/tcbInfo.json", "go-tdx-guest/testing/testdata/sample_tcbInfo_response", "go-tdx-guest/testing/testdata/sample_tcbinfo_response_v5",
	} {
		inner, _, err := collateral.Open(collateral.KeyTCBInfo, file(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		documents = append(documents, [2]string{collateral.IDTDX, string(inner)})
	}
	for _, name := range []string{"trustee/deps/verifier/test_data/enclaveIdentity.json", "go-tdx-guest/testing/testdata/sample_qeIdentity_response"} {
		inner, _, err := collateral.Open(collateral.KeyQEIdentity, file(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		documents = append(documents, [2]string{collateral.IDTDQE, string(inner)})
	}
	return documents
}

// TestReadsWhatEncodingJSONReads holds the reader of this package to the
// standard library's on every document of Intel's that is at hand.
func TestReadsWhatEncodingJSONReads(t *testing.T) {
	documents := intelDocuments(t)
	if documents == nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	for i, d := range documents {
		id, document := d[0], []byte(d[1])
		var ours, theirs any
		var err, theirErr error
		if id == collateral.IDTDX || id == collateral.IDSGX {
			var info collateral.TCBInfo
			theirErr = json.Unmarshal(document, &info)
			theirs = info
			ours, err = collateral.ParseTCBInfo(document, id)
		} else {
			var identity collateral.QEIdentity
			theirErr = json.Unmarshal(document, &identity)
			theirs = identity
			ours, err = collateral.ParseQEIdentity(document, id)
		}
		if err != nil || theirErr != nil || !reflect.DeepEqual(ours, theirs) {
			t.Errorf("document %d (%s): %v, %v\nread as  %+v\nwant     %+v", i, id, err, theirErr, ours, theirs)
		}
	}
}

// ambiguous reports whether an object in JSON has two names that differ in
// letter case only: encoding/json takes them for one field.
func ambiguous(b []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(b))
	var open []map[string]bool // nil for an array
	name := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{':
				open, name = append(open, map[string]bool{}), true
				continue
			case '[':
				open, name = append(open, nil), false
				continue
			}
			open = open[:len(open)-1]
		case string:
			if name {
				folded := strings.ToLower(strings.ToUpper(v))
				if open[len(open)-1][folded] {
					return true
				}
				open[len(open)-1][folded] = true
				name = false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// FuzzParse reads any bytes as both documents and as an envelope. What is
// accepted is what encoding/json reads too, and can be relied upon.
func FuzzParse(f *testing.F) {
	for _, d := range intelDocuments(f) {
		f.Add([]byte(d[1]))
		f.Add(collateral.Seal(collateral.KeyTCBInfo, []byte(d[1]), [64]byte{1}))
	}
	f.Add([]byte(`{"id":"TDX","version":3,"fmspc":"000000000000","pceId":"0000","tcbLevels":[]}`))
	f.Add([]byte(`{"id":"TD_QE","version":2,"miscselect":"00000000"}`))
	f.Add([]byte(`{"tcbInfo":{},"signature":"` + signature + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, id := range []string{collateral.IDTDX, collateral.IDSGX} {
			info, err := collateral.ParseTCBInfo(b, id)
			if !coded(t, err) {
				continue
			}
			zero := collateral.Platform{}
			found := info.Find(&zero)
			for i, l := range info.TCBLevels {
				if reached := len(l.TCB.Short(zero)) == 0; reached && (found < 0 || found > i) {
					t.Errorf("Find = %d, and level %d lacks nothing", found, i)
				}
			}
			var theirs collateral.TCBInfo
			if err := json.Unmarshal(b, &theirs); (err != nil || !sameLevels(info, theirs)) && !ambiguous(b) {
				t.Errorf("read %+v, encoding/json %+v, %v", info, theirs, err)
			}
		}
		if qe, err := collateral.ParseQEIdentity(b, collateral.IDTDQE); coded(t, err) && (len(qe.Attributes) != 16 || len(qe.MRSigner) != 32) {
			t.Errorf("attributes of %d bytes", len(qe.Attributes))
		}
		if inner, signature, err := collateral.Open(collateral.KeyTCBInfo, b); coded(t, err) {
			again, signature2, err := collateral.Open(collateral.KeyTCBInfo, collateral.Seal(collateral.KeyTCBInfo, inner, signature))
			if err != nil || !bytes.Equal(again, inner) || signature2 != signature {
				t.Errorf("sealed again, %q opens to %q, %s, %v", inner, again, hex.EncodeToString(signature2[:]), err)
			}
		}
	})
}

func sameLevels(a, b collateral.TCBInfo) bool {
	if a.ID != b.ID || a.Version != b.Version || !bytes.Equal(a.FMSPC, b.FMSPC) || len(a.TCBLevels) != len(b.TCBLevels) {
		return false
	}
	for i := range a.TCBLevels {
		if a.TCBLevels[i].TCBStatus != b.TCBLevels[i].TCBStatus || !reflect.DeepEqual(a.TCBLevels[i].TCB, b.TCBLevels[i].TCB) {
			return false
		}
	}
	return true
}
