package tdx_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

const vectors = "../../../shared/vectors"

// sample is a quote in which every field has bytes of its own.
func sample(version, body uint16) tdx.Quote {
	q := tdx.Quote{
		Header:   tdx.Header{Version: version, KeyType: tdx.KeyTypeECDSAP256, TEEType: tdx.TEETypeTDX, VendorID: tdx.IntelVendorID},
		BodyType: body,
	}
	q.Body.TDAttributes, q.Body.XFAM, q.Body.SEAMAttributes = 0x0102030405060708, 0x1112131415161718, 0x2122232425262728
	for i, r := range []*vm.Register{
		&q.Body.MRSEAM, &q.Body.MRSignerSEAM, &q.Body.MRTD, &q.Body.MRConfigID, &q.Body.MROwner, &q.Body.MROwnerConfig,
		&q.Body.RTMR[0], &q.Body.RTMR[1], &q.Body.RTMR[2], &q.Body.RTMR[3],
	} {
		r[0] = byte(0x30 + i)
	}
	q.Body.ReportData[0], q.Body.TEETCBSVN[0] = 0x40, 0x41
	if body == tdx.BodyTD15 {
		q.Body.TEETCBSVN2[0], q.Body.MRServiceTD[0] = 0x42, 0x43
	}
	q.Signature.QEReport.ISVProdID, q.Signature.QEReport.ISVSVN = 0x5051, 0x5253
	q.Signature.QEReport.MRSigner[0], q.Signature.QEReport.ReportData[0], q.Signature.QEReport.Attributes[0] = 0x54, 0x55, 0x56
	q.Signature.AuthData, q.Signature.PCKChain = []byte{0x60, 0x61}, []byte("chain")
	return q
}

// TestLayout holds fields to their offsets in Intel's tables (A.3 and A.4 of
// the TDX DCAP Quoting Library API, A.4 of the SGX ECDSA library reference).
func TestLayout(t *testing.T) {
	for _, version := range []struct {
		version, body uint16
		bodyAt, size  int
	}{{4, tdx.BodyTD10, 48, 584}, {5, tdx.BodyTD10, 54, 584}, {5, tdx.BodyTD15, 54, 648}} {
		b := tdx.Encode(sample(version.version, version.body))
		body, signature := b[version.bodyAt:], b[version.bodyAt+version.size:]
		report := signature[4+64+64+6:]
		for _, field := range []struct {
			name  string
			in    []byte
			at    int
			bytes string
		}{
			{"version", b, 0, hex.EncodeToString(binary.LittleEndian.AppendUint16(nil, version.version))},
			{"key type", b, 2, "0200"},
			{"TEE type", b, 4, "81000000"},
			{"vendor", b, 12, "939a7233f79c4ca9940a0db3957f0607"},
			{"TEE_TCB_SVN", body, 0, "41"},
			{"MRSEAM", body, 16, "30"},
			{"MRSIGNERSEAM", body, 64, "31"},
			{"SEAMATTRIBUTES", body, 112, "2827262524232221"},
			{"TDATTRIBUTES", body, 120, "0807060504030201"},
			{"XFAM", body, 128, "1817161514131211"},
			{"MRTD", body, 136, "32"},
			{"MRCONFIGID", body, 184, "33"},
			{"MROWNER", body, 232, "34"},
			{"MROWNERCONFIG", body, 280, "35"},
			{"RTMR0", body, 328, "36"},
			{"RTMR1", body, 376, "37"},
			{"RTMR2", body, 424, "38"},
			{"RTMR3", body, 472, "39"},
			{"REPORTDATA", body, 520, "40"},
			{"certification type", signature, 132, "0600"},
			{"QE ATTRIBUTES", report, 48, "56"},
			{"QE MRSIGNER", report, 128, "54"},
			{"QE ISVPRODID", report, 256, "5150"},
			{"QE ISVSVN", report, 258, "5352"},
			{"QE REPORTDATA", report, 320, "55"},
			{"authentication data", report, 448, "02006061"},
			{"chain", report, 452, "050005000000" + hex.EncodeToString([]byte("chain"))},
		} {
			want, _ := hex.DecodeString(field.bytes)
			if got := field.in[field.at : field.at+len(want)]; !bytes.Equal(got, want) {
				t.Errorf("version %d, body %d: %s at %d is %x, want %x", version.version, version.body, field.name, field.at, got, want)
			}
		}
		if version.body == tdx.BodyTD15 && (body[584] != 0x42 || body[600] != 0x43) {
			t.Errorf("TDX 1.5 fields: TEE_TCB_SVN_2 begins %x, MRSERVICETD %x", body[584], body[600])
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	sound := tdx.Encode(sample(4, tdx.BodyTD10))
	five := tdx.Encode(sample(5, tdx.BodyTD15))
	set := func(b []byte, at int, bytes ...byte) []byte {
		b = append([]byte{}, b...)
		copy(b[at:], bytes)
		return b
	}
	const signature = 48 + 584 + 4
	for _, row := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "header has 0 bytes"},
		{"version 3", set(sound, 0, 3), "version is 3"},
		{"version 6", set(sound, 0, 6), "version is 6"},
		{"SGX", set(sound, 4, 0), "TEE type is 0x0"},
		{"P-384", set(sound, 2, 3), "key type is 3"},
		{"cut body", sound[:600], "body has 552 bytes"},
		{"cut length", sound[:634], "signature length has 2 bytes"},
		{"cut signature", sound[:700], "claims"},
		{"length over everything", set(sound, 632, 0xff, 0xff, 0xff, 0xff), "claims 4294967295 bytes"},
		{"length short by one", set(sound, 632, byte(len(sound)-signature-1), byte((len(sound)-signature-1)>>8)), "behind the signature data"},
		{"length zero", append(sound[:632:632], 0, 0, 0, 0), "signature data has 0 bytes"},
		{"certification type 5 outside", set(sound, signature+128, 5), "type 5, want 6"},
		{"certification size off", set(sound, signature+130, 1, 0, 0, 0), "claims 1 bytes"},
		{"authentication data over the end", set(sound, signature+134+448, 0xff, 3), "authentication data has"},
		{"authentication data too large", set(sound, signature+134+448, 0xff, 0xff), "at most 1024"},
		{"chain type 1", set(sound, signature+134+452, 1), "type 1, want 5"},
		{"trailing byte", append(sound[:len(sound):len(sound)], 1), "1 bytes behind"},
		{"body type 1", set(five, 48, 1), "body type is 1"},
		{"body size off", set(five, 50, 0x48), "claims 584 bytes, want 648"},
		{"cut descriptor", five[:50], "body descriptor has 2 bytes"},
		{"too large", make([]byte, vm.MaxQuoteSize+1), "at most"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := tdx.Decode(row.b)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("Decode = %v, want %q", err, row.want)
			}
			if code := vm.CodeOf(err); code != vm.CodeMalformed && code != vm.CodeTooLarge {
				t.Errorf("code %s", code)
			}
		})
	}
}

// genuineQuotes are quotes of many sources.
var genuineQuotes = []string{
	"dcap-qvl/sample/tdx_quote", "dcap-qvl/sample/tdx_quote_outdated", "trustee/deps/verifier/test_data/tdx_quote_4.dat",
	"trustee/deps/verifier/test_data/tdx_quote_5.dat", "trustee/deps/verifier/test_data/tdx_quote_6.dat",
	"trustee/deps/verifier/test_data/az-tdx-vtpm/td-quote.bin", "go-tdx-guest/testing/testdata/quote_v5_sample.dat",
	"go-tdx-guest/testing/testdata/ccel/cos-113-tdx-quote.dat", "intel-qvl/Src/AttestationApp/sampleData/tdx/quote.dat",
	"cc-api-evidence/common/golang/evidence_api/test_data/quote.bin", "dstack/dstack/ra-tls/assets/tdx_quote",
	"azure-cvm-attestation-tools/cvm-attestation/tests/reports/td_quote_v4.dat",
	"azure-cvm-attestation-tools/cvm-attestation/tests/reports/td_quote_v5.dat",
}

// seed adds the genuine quotes to a fuzz target, where they are there.
func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		if b, err := os.ReadFile(filepath.Join(vectors, name)); err == nil {
			f.Add(b)
		}
	}
}

// TestVectorsRoundTrip decodes genuine quotes of many sources and encodes them
// to the same bytes.
func TestVectorsRoundTrip(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	for _, name := range genuineQuotes {
		b, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		q, err := tdx.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		encoded := tdx.Encode(q)
		if !bytes.Equal(encoded, b[:len(encoded)]) || len(bytes.TrimRight(b[len(encoded):], "\x00")) > 0 {
			t.Errorf("%s: encoded to other bytes", name)
		}
	}
}

// FuzzDecode: whatever is accepted encodes to the same bytes, but for padding.
func FuzzDecode(f *testing.F) {
	seed(f, genuineQuotes...)
	f.Add(tdx.Encode(sample(4, tdx.BodyTD10)))
	f.Add(tdx.Encode(sample(5, tdx.BodyTD10)))
	f.Add(append(tdx.Encode(sample(5, tdx.BodyTD15)), 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := tdx.Decode(b)
		if err != nil {
			return
		}
		encoded := tdx.Encode(q)
		if len(encoded) > len(b) || !bytes.Equal(encoded, b[:len(encoded)]) {
			t.Errorf("%x\nencoded to %x", b, encoded)
		}
		if !bytes.HasPrefix(b, q.Signed()) {
			t.Error("signed region is no prefix of the quote")
		}
	})
}

// FuzzDecodeSGX: the same for quotes of enclaves.
func FuzzDecodeSGX(f *testing.F) {
	seed(f, "dcap-qvl/sample/sgx_quote", "trustee/deps/verifier/test_data/occlum_quote.dat")
	f.Add(tdx.EncodeSGX(tdx.SGXQuote{Header: tdx.Header{Version: tdx.Version3, KeyType: tdx.KeyTypeECDSAP256}, Signature: tdx.Signature{AuthData: []byte{1}, PCKChain: []byte("chain")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := tdx.DecodeSGX(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Errorf("error without a code: %v", err)
			}
			return
		}
		encoded := tdx.EncodeSGX(q)
		if len(encoded) > len(b) || !bytes.Equal(encoded, b[:len(encoded)]) {
			t.Errorf("%x\nencoded to %x", b, encoded)
		}
		if !bytes.HasPrefix(b, q.Signed()) {
			t.Error("signed region is no prefix of the quote")
		}
	})
}
