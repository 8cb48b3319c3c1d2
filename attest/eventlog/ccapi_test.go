package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/test/vectors"
)

// hexLine is a line of a hex dump: offset, bytes, the same as text.
var hexLine = regexp.MustCompile(`\d\d:\d\d:\d\d ([0-9a-f]{8}) ((?:[0-9a-f]{2} )+)`)

// The printed log of another project, byte for byte: register, type, digest
// and data of each entry.
func TestAgreesWithCCAPI(t *testing.T) {
	log, err := eventlog.ParseCCEL(vectors.Read(t, "measure/cc-api/ccel_data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(vectors.Read(t, "measure/cc-api/formated_el.txt")), "Event Log Entry---")[1:]
	if len(blocks) != len(log)+1 {
		t.Fatalf("%d events, want %d", len(log), len(blocks)-1)
	}
	for i, block := range blocks[:len(log)] { // the last is of Linux' own log
		e := log[i]
		digestText, dataText, found := strings.Cut(block, "Event:\n")
		if !found {
			t.Fatalf("entry %d has no data: %s", i, block)
		}
		for _, want := range []string{fmt.Sprintf("IMR               : %d\n", e.Register), fmt.Sprintf("Type              : 0x%X (%s)", uint32(e.Type), e.Type)} {
			if !strings.Contains(digestText, want) {
				t.Errorf("entry %d: %q is not in\n%s", i, want, digestText)
			}
		}
		dump := func(text string) []byte {
			var out []byte
			for _, m := range hexLine.FindAllStringSubmatch(text, -1) {
				b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, b...)
			}
			return out
		}
		if got := dump(digestText); !bytes.Equal(got, e.Digest[:]) {
			t.Errorf("entry %d: digest %s, want %x", i, e.Digest, got)
		}
		if got := dump(dataText); !bytes.Equal(got, e.Data) {
			t.Errorf("entry %d: data %x, want %x", i, e.Data, got)
		}
	}
}
