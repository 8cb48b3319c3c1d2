package spdm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const (
	trustee = "trustee/deps/verifier/test_data/nvidia/"
	sdk     = "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample is a report with what every report has.
func sample() Report {
	return Report{
		RequestNonce: [32]byte{1}, ResponseNonce: [32]byte{2}, Slot: 3, Param1: 4, Param2: 5,
		Blocks: []Block{{1, 1, bytes.Repeat([]byte{6}, DigestSize)}, {9, 0x81, []byte{7}}},
		Opaque: Opaque{Entries: []Entry{
			{Field: FieldVBIOS, Value: []byte("\x00\x9f\x00\x96\x01\x00\x00\x00")}, {Field: FieldDriver, Value: []byte("550.90.07\x00")},
		}},
		Signature: [SignatureSize]byte{8},
	}
}

// TestClaims compares what is read with what other verifiers read.
func TestClaims(t *testing.T) {
	r, err := Decode(unhex(t, string(vectors.ReadIfThere(t, trustee+"hopperAttestationReport.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Config struct {
			Driver     string `json:"driver_version"`
			VBIOS      string `json:"vbios_version"`
			Project    string `json:"project"`
			ProjectSKU string `json:"project_sku"`
			ChipSKU    string `json:"chip_sku"`
			FWID       string `json:"fwid"`
		}
		Measurements map[string]string
	}
	if err := json.Unmarshal(vectors.ReadIfThere(t, trustee+"hopperAttestationReport-claims.txt"), &claims); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[Field]string{
		FieldDriver: claims.Config.Driver, FieldProject: claims.Config.Project,
		FieldProjectSKU: claims.Config.ProjectSKU, FieldChipSKU: claims.Config.ChipSKU,
	} {
		if got, err := r.Opaque.Text(field); err != nil || got != want {
			t.Errorf("field %d is %q (%v), want %q", field, got, err, want)
		}
	}
	if got, err := r.Opaque.VBIOS(); err != nil || !strings.EqualFold(got, claims.Config.VBIOS) {
		t.Errorf("VBIOS %s (%v), want %s", got, err, claims.Config.VBIOS)
	}
	if got, _ := r.Opaque.Get(FieldFWID); hex.EncodeToString(got) != claims.Config.FWID {
		t.Errorf("FWID %x, want %s", got, claims.Config.FWID)
	}
	if len(claims.Measurements) != len(r.Blocks) {
		t.Errorf("%d measurements, want %d", len(r.Blocks), len(claims.Measurements))
	}
	for index, want := range claims.Measurements {
		i, err := strconv.Atoi(index)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := r.Measurement(i - 1); hex.EncodeToString(got) != want {
			t.Errorf("measurement %d is %x, want %s", i, got, want)
		}
	}
}

func TestParsedByNVIDIA(t *testing.T) {
	r, err := Decode(unhex(t, string(vectors.ReadIfThere(t, sdk+"hopperAttestationReport.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	var request struct{ Nonce string }
	var response struct {
		Nonce, Signature  string
		NumberOfBlocks    int
		MeasurementRecord struct {
			MeasurementBlocks map[string]struct{ DMTFSpecMeasurementValue string }
		}
	}
	for name, to := range map[string]any{"spdm_req_parsed_output.json": &request, "spdm_parsed_output.json": &response} {
		if err := json.Unmarshal(vectors.ReadIfThere(t, sdk+name), to); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(r.RequestNonce[:], unhex(t, request.Nonce)) || !bytes.Equal(r.ResponseNonce[:], unhex(t, response.Nonce)) || !bytes.Equal(r.Signature[:], unhex(t, response.Signature)) {
		t.Error("nonces or signature differ")
	}
	if len(r.Blocks) != response.NumberOfBlocks {
		t.Errorf("%d blocks, want %d", len(r.Blocks), response.NumberOfBlocks)
	}
	for _, b := range r.Blocks {
		if want := response.MeasurementRecord.MeasurementBlocks[strconv.Itoa(int(b.Index))].DMTFSpecMeasurementValue; !bytes.Equal(b.Value, unhex(t, want)) {
			t.Errorf("block %d is %x, want %s", b.Index, b.Value, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	typed := sample()
	typed.Opaque = Opaque{Typed: true, Major: 2, Minor: 1, Entries: []Entry{{FieldDriver, 0x10, []byte("600.1\x00")}}}
	for name, want := range map[string]Report{"plain": sample(), "typed": typed} {
		b := Encode(want)
		got, err := Decode(append(b, 0, 0, 0))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(Encode(got), b) || !bytes.Equal(got.Signed(), b[:len(b)-SignatureSize]) {
			t.Errorf("%s: decoding and encoding changes it", name)
		}
	}
}

func TestMalformed(t *testing.T) {
	change := func(at int, to byte) []byte {
		b := Encode(sample())
		b[at] = to
		return b
	}
	changed := func(f func(*Report)) []byte {
		r := sample()
		f(&r)
		return Encode(r)
	}
	for _, row := range []struct {
		name string
		b    []byte
		want vm.Code
		says string
	}{
		{"empty", nil, vm.CodeMalformed, "inside the request"},
		{"too large", make([]byte, maxSize+1), vm.CodeTooLarge, "bytes"},
		{"SPDM 1.2", change(0, 0x12), vm.CodeMalformed, "SPDM 1.1"},
		{"no request", change(1, 0x60), vm.CodeMalformed, "GET_MEASUREMENTS"},
		{"no signature asked for", change(2, 0), vm.CodeMalformed, "does not ask"},
		{"one measurement asked for", change(3, 7), vm.CodeMalformed, "does not ask"},
		{"response is an error", change(RequestSize+1, 0x7F), vm.CodeMalformed, "MEASUREMENTS"},
		{"wrong count", change(RequestSize+4, 3), vm.CodeMalformed, "says 3"},
		{"long record", change(RequestSize+7, 0xFF), vm.CodeMalformed, "inside the measurements"},
		{"block of another specification", change(RequestSize+headerSize+1, 2), vm.CodeMalformed, "specification"},
		{"block sizes contradict", change(RequestSize+headerSize+5, 1), vm.CodeMalformed, "contradict"},
		{"block twice", changed(func(r *Report) { r.Blocks[1].Index = 1 }), vm.CodeMalformed, "twice"},
		{"block zero", changed(func(r *Report) { r.Blocks[1].Index = 0 }), vm.CodeMalformed, "not one"},
		{"field twice", changed(func(r *Report) { r.Opaque.Entries[0].Field = FieldDriver }), vm.CodeMalformed, "twice"},
		{"newer fields", changed(func(r *Report) {
			r.Opaque.Entries = append(r.Opaque.Entries, Entry{Field: FieldVersion, Value: []byte{3}})
		}), vm.CodeMalformed, "newer"},
		{"newer typed fields", changed(func(r *Report) { r.Opaque.Typed, r.Opaque.Major = true, 3 }), vm.CodeMalformed, "newer"},
		{"something behind", append(Encode(sample()), 0, 1), vm.CodeMalformed, "follow"},
		{"cut", Encode(sample())[:len(Encode(sample()))-1], vm.CodeMalformed, "inside the signature"},
	} {
		_, err := Decode(row.b)
		var r *vm.Refusal
		if !errors.As(err, &r) || r.Code != row.want || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %s %q", row.name, err, row.want, row.says)
		}
	}
}

func TestText(t *testing.T) {
	for value, want := range map[string]string{
		"550.90.07\x00": "550.90.07", "1010": "1010", "": "", "\x00": "", "a b": "", "../etc": "", "x\x00y": "", strings.Repeat("x", 65): "",
	} {
		o := Opaque{Entries: []Entry{{Field: FieldDriver, Value: []byte(value)}}}
		if got, err := o.Text(FieldDriver); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is read as %q (%v), want %q", value, got, err, want)
		}
	}
	if _, err := (Opaque{}).Text(FieldDriver); err == nil {
		t.Error("a field that is absent is read")
	}
	if _, err := (Opaque{Entries: []Entry{{Field: FieldVBIOS, Value: []byte{1}}}}).VBIOS(); err == nil {
		t.Error("a VBIOS version of one byte is read")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(sample()))
	typed := sample()
	typed.Opaque.Typed = true
	f.Add(Encode(typed))
	if b, ok := vectors.Seed(trustee + "hopperAttestationReport.txt"); ok {
		f.Add(unhex(f, string(b)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		if again := Encode(r); !bytes.Equal(again, b[:len(again)]) || len(bytes.Trim(b[len(again):], "\x00")) > 0 {
			t.Errorf("%x is read as %x", b, again)
		}
		_, _ = r.Opaque.Text(FieldDriver)
		_, _ = r.Opaque.VBIOS()
	})
}
