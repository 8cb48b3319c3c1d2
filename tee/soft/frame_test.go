package soft

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func frame(length uint32, payload string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, length), payload...)
}

func TestReadFrame(t *testing.T) {
	tests := []struct {
		name    string
		in      []byte
		want    string
		wantErr string
	}{
		{"one frame", frame(2, "{}"), "{}", ""},
		{"the rest is left for the next read", frame(2, "{}more"), "{}", ""},
		{"length is little-endian", []byte{0, 0, 0, 2, '{', '}'}, "", "announces 33554432 bytes"},
		{"empty", frame(0, ""), "", "announces 0 bytes"},
		{"over the bound", frame(MaxFrame+1, "x"), "", "announces 524289 bytes"},
		{"cut in the header", []byte{2, 0}, "", "unexpected EOF"},
		{"cut in the payload", frame(3, "{}"), "", "unexpected EOF"},
		{"cut before the payload", frame(3, ""), "", "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadFrame(bytes.NewReader(tt.in))
			checkErr(t, err, tt.wantErr)
			if string(got) != tt.want {
				t.Errorf("payload is %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := ReadFrame(bytes.NewReader(nil)); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("end between frames gives %v, want io.EOF", err)
	}
}

func TestWriteFrameRefusesOversize(t *testing.T) {
	var out bytes.Buffer
	err := WriteFrame(&out, strings.Repeat("x", MaxFrame))
	checkErr(t, err, "want at most 524288")
	if out.Len() != 0 {
		t.Errorf("%d bytes were written before the refusal", out.Len())
	}
}

const digest = `"` + "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f" + `"`

func TestParseRequest(t *testing.T) {
	data, _ := json.Marshal(make([]byte, 64))
	tests := []struct {
		name, in, wantErr string
	}{
		{"extend", `{"id":1,"op":"extend","register":3,"digest":` + digest + `}`, ""},
		{"read", `{"id":1,"op":"read"}`, ""},
		{"quote", `{"id":1,"op":"quote","report_data":` + string(data) + `}`, ""},
		{"no id", `{"op":"read"}`, "no id"},
		{"launch register", `{"id":1,"op":"extend","register":2,"digest":` + digest + `}`, "extends RTMR2"},
		{"no register", `{"id":1,"op":"extend","digest":` + digest + `}`, "extends RTMR0"},
		{"no digest", `{"id":1,"op":"extend","register":3}`, "wants a digest"},
		{"short digest", `{"id":1,"op":"extend","register":3,"digest":"00"}`, "want 96 hex digits"},
		{"read with digest", `{"id":1,"op":"read","digest":` + digest + `}`, "no argument"},
		{"short report data", `{"id":1,"op":"quote","report_data":"AAAA"}`, "has 3 bytes of report data"},
		{"other operation", `{"id":1,"op":"reset"}`, `operation "reset"`},
		{"unknown field", `{"id":1,"op":"read","mrtd":""}`, "unknown field"},
		{"two documents", `{"id":1,"op":"read"}{}`, "trailing bytes"},
		{"not JSON", `extend`, "decode soft TEE request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseRequest([]byte(tt.in))
			checkErr(t, err, tt.wantErr)
		})
	}
}

func TestParseAnswer(t *testing.T) {
	empty, _ := json.Marshal(vm.Measurement{})
	big, _ := json.Marshal(make([]byte, vm.MaxQuoteSize+1))
	tests := []struct {
		name    string
		op      Op
		in      string
		wantErr string
	}{
		{"read", OpRead, `{"id":1,"measurement":` + string(empty) + `}`, ""},
		{"quote", OpQuote, `{"id":1,"quote":"AAAA"}`, ""},
		{"an error needs nothing else", OpQuote, `{"id":1,"error":"no"}`, ""},
		{"extend without registers", OpExtend, `{"id":1}`, "lacks the measurement"},
		{"no quote", OpQuote, `{"id":1}`, "quote of 0 bytes"},
		{"oversize quote", OpQuote, `{"id":1,"quote":` + string(big) + `}`, "quote of 16385 bytes"},
		{"unknown field", OpRead, `{"id":1,"key":""}`, "unknown field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseAnswer(tt.op, []byte(tt.in))
			checkErr(t, err, tt.wantErr)
		})
	}
}

// FuzzReadFrame: whatever was read is written back as the same bytes.
func FuzzReadFrame(f *testing.F) {
	f.Add(frame(2, "{}"))
	f.Add(frame(40, `{"id":1,"op":"read"}`))
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		payload, err := ReadFrame(bytes.NewReader(in))
		if err != nil {
			return
		}
		if want := in[:4+len(payload)]; !bytes.Equal(frame(uint32(len(payload)), string(payload)), want) {
			t.Errorf("frame %x does not survive a round trip", want)
		}
	})
}

// FuzzParseRequest: an accepted request means the same after a round trip.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"id":1,"op":"extend","register":3,"digest":` + digest + `}`))
	f.Add([]byte(`{"id":18446744073709551615,"op":"read"}`))
	f.Add([]byte(`{"id":1,"op":"quote","report_data":"` + strings.Repeat("A", 86) + `=="}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		first, err := ParseRequest(in)
		if err != nil {
			return
		}
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := ParseRequest(encoded)
		if err != nil {
			t.Fatalf("%s is refused after a round trip: %v", encoded, err)
		}
		again, _ := json.Marshal(second)
		if !bytes.Equal(encoded, again) {
			t.Errorf("%s became %s", encoded, again)
		}
	})
}

// FuzzParseAnswer: no input makes it panic, and an accepted answer holds what
// its operation promises.
func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"id":1,"quote":"AAAA","collateral":{"pck_crl":"AAAA"}}`))
	f.Add([]byte(`{"id":1,"error":"no"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if a, err := ParseAnswer(OpRead, in); err == nil && a.Error == "" && a.Measurement == nil {
			t.Error("an answer without registers was accepted")
		}
		if a, err := ParseAnswer(OpQuote, in); err == nil && a.Error == "" && len(a.Quote) == 0 {
			t.Error("an answer without quote was accepted")
		}
	})
}

func checkErr(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Fatalf("error is %v, want one with %q", err, want)
	}
}
