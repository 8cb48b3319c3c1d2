package eventlog_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// The logs of real machines, with what is known of each.
func TestRealLogs(t *testing.T) {
	for _, tt := range []struct {
		file   string
		events int
		quote  string // of the same boot, if there is one
		twice  string // what Check refuses
	}{
		{"measure/go-tdx-guest/ccel_data.dat", 43, "measure/go-tdx-guest/cos-113-tdx-quote.dat", ""},
		{"measure/go-eventlog/cos-113-intel-tdx.bin", 43, "measure/go-tdx-guest/cos-113-tdx-quote.dat", ""},
		{"measure/go-eventlog/cos-113-intel-tdx-dupe-separator.bin", 43, "", "event 15 of the log repeats event 7: separator"},
		{"measure/go-eventlog/cos-113-intel-tdx-dupe-separator-unpadded.bin", 43, "", "event 15 of the log repeats event 7: separator"},
		{"measure/go-eventlog/CCEL_unpadded.data.bin", 19, "", "separator"},
		{"measure/go-eventlog/event_log.bin", 27, "", "separator"},
		{"measure/dstack/ccel.bin", 18, "", ""},
		{"measure/cc-api/ccel_data.bin", 98, "", "separator"},
		{"measure/trustee/CCEL_data_ovmf", 20, "", "separator"},
		{"measure/trustee/CCEL_data_grub", 37, "", "separator"},
		{"measure/trustee/CCEL_data_grub_gke", 33, "", ""},
		{"measure/trustee/CCEL_data_gcp", 0, "", ""},
		{"trustee/deps/verifier/test_data/CCEL_data", 0, "", ""},
	} {
		t.Run(tt.file, func(t *testing.T) {
			log, err := eventlog.ParseCCEL(vectors.Read(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if tt.events != 0 && len(log) != tt.events {
				t.Errorf("%d events, want %d", len(log), tt.events)
			}
			err = log.Check()
			if tt.twice == "" && err != nil || tt.twice != "" && (err == nil || !strings.Contains(err.Error(), tt.twice) || vm.CodeOf(err) != vm.CodeEvents) {
				t.Errorf("Check = %v, want %q", err, tt.twice)
			}
			if tt.quote == "" {
				return
			}
			q, err := tdx.Decode(vectors.Read(t, tt.quote))
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Explains(q.Body.RTMR, 0, 1, 2); err != nil {
				t.Error(err)
			}
			log[0].Digest[0] ^= 1
			if err := log.Explains(q.Body.RTMR, 0, 1, 2); vm.CodeOf(err) != vm.CodeEvents {
				t.Errorf("a changed log explains the quote: %v", err)
			}
		})
	}
}

// Linux' integrity measurement (IMA) may extend RTMR2 after the firmware's log
// ended, as in this machine: the log alone then does not explain the register,
// and is refused; with IMA's one entry it does.
func TestRegisterExtendedAfterTheLog(t *testing.T) {
	log, err := eventlog.ParseCCEL(vectors.Read(t, "measure/cc-api/ccel_data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(vectors.Read(t, "measure/cc-api/quote.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Explains(q.Body.RTMR, 0, 1); err != nil {
		t.Error(err)
	}
	if err := log.Explains(q.Body.RTMR, 0, 1, 2); vm.CodeOf(err) != vm.CodeEvents || !strings.Contains(err.Error(), "RTMR2") {
		t.Errorf("Explains = %v, want RTMR2 to differ", err)
	}
	ima, err := hex.DecodeString("67c70809bd405ea82081e8f1eb2ca16108bce307f5f139492da641e08e07ec99e2163649f29323a5f5963fe07bb06cc6")
	if err != nil {
		t.Fatal(err)
	}
	log = append(log, eventlog.Event{Register: 2, Type: eventlog.IPL, Digest: vm.Register(ima)})
	if err := log.Explains(q.Body.RTMR, 0, 1, 2); err != nil {
		t.Error(err)
	}
}

// Another verifier's reading of the same logs: data, digests, and whether the
// digest is that of the event.
func TestAgreesWithTrustee(t *testing.T) {
	for _, name := range []string{"ovmf", "grub", "grub_gke"} {
		var theirs struct {
			Events []struct {
				Data    string `json:"event"`
				Index   int
				Type    string `json:"type_name"`
				Proven  bool   `json:"digest_matches_event"`
				Digests []struct{ Digest vm.Register }
			} `json:"uefi_event_logs"`
		}
		if err := json.Unmarshal(vectors.Read(t, "measure/trustee/CCEL_data_"+name+"_out.json"), &theirs); err != nil {
			t.Fatal(err)
		}
		log, err := eventlog.ParseCCEL(vectors.Read(t, "measure/trustee/CCEL_data_"+name))
		if err != nil {
			t.Fatal(err)
		}
		said := log.Describe()
		i := 0
		for _, want := range theirs.Events {
			if want.Type == "EV_NO_ACTION" {
				continue
			}
			if i == len(log) {
				t.Fatalf("%s: %d events only", name, i)
			}
			got := said[i]
			data, _ := base64.StdEncoding.DecodeString(want.Data)
			if got.Register != want.Index-1 || got.Type != want.Type || got.Digest != want.Digests[0].Digest || !bytes.Equal(log[i].Data, data) {
				t.Errorf("%s: event %d is %+v, want %+v", name, i, got, want)
			}
			if want.Proven && !got.Proven {
				t.Errorf("%s: event %d (%s): not proven, but its digest is that of its data", name, i, got.Type)
			}
			i++
		}
		if i != len(log) {
			t.Errorf("%s: %d events, want %d", name, len(log), i)
		}
	}
}

func TestDescribe(t *testing.T) {
	log, err := eventlog.ParseCCEL(vectors.Read(t, "measure/trustee/CCEL_data_ovmf"))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		register     int
		name, phrase string
		proven       bool
	}{
		{0, "td-hob", "TdxTable", false},
		{0, "cfv", "Fv(XXXX", false},
		{0, "SecureBoot", "absent", true},
		{0, "PK", "absent", true},
		{0, "KEK", "absent", true},
		{0, "db", "absent", true},
		{0, "dbx", "absent", true},
		{0, "separator", "hands over", true},
		{0, "etc/table-loader", "ACPI", false},
		{0, "etc/acpi/rsdp", "ACPI", false},
		{0, "etc/acpi/tables", "ACPI", false},
		{1, "kernel", "VenMedia(1428f772-b64a-441e-b8c3-9ebdd7f893c7)/kernel", false},
		{0, "BootOrder", "0000", true},
		{0, "Boot0000", `"UiApp" from Fv(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)`, true},
		{1, "action", "Calling EFI Application", true},
		{0, "separator", "hands over", true},
		{2, "command-line", "load options", false},
		{2, "initrd", "initial RAM", false},
		{1, "action", "Exit Boot Services Invocation", true},
		{1, "action", "Success", true},
	}
	said := log.Describe()
	if len(said) != len(want) {
		t.Fatalf("%d events, want %d", len(said), len(want))
	}
	for i, w := range want {
		if g := said[i]; g.Register != w.register || g.Name != w.name || !strings.Contains(g.Description, w.phrase) || g.Proven != w.proven {
			t.Errorf("event %d is %+v, want %+v", i, g, w)
		}
	}
}

// GRUB's digests are of the text behind a prefix.
func TestGRUBCommandsAreProven(t *testing.T) {
	log, err := eventlog.ParseCCEL(vectors.Read(t, "measure/cc-api/ccel_data.bin"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range log.Describe() {
		if e.Name == "grub_cmd" || e.Name == "kernel_cmdline" {
			n++
			if !e.Proven {
				t.Errorf("not proven: %s %s", e.Name, e.Description)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d commands, want many", n)
	}
}

// header and entry write the format by hand.
func header(algs ...uint16) []byte {
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = binary.LittleEndian.AppendUint32(spec, uint32(len(algs)/2))
	for _, a := range algs {
		spec = binary.LittleEndian.AppendUint16(spec, a)
	}
	spec = append(spec, 0)
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = append(b, make([]byte, 20)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(spec)))
	return append(b, spec...)
}

func entry(index, typ uint32, algs []uint16, data string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, index)
	b = binary.LittleEndian.AppendUint32(b, typ)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(algs)))
	for _, a := range algs {
		b = binary.LittleEndian.AppendUint16(b, a)
		b = append(b, make([]byte, map[uint16]int{12: 48, 11: 32}[a])...)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func TestK8_MalformedLogsAreRefused(t *testing.T) {
	sha384 := []uint16{12}
	head := header(12, 48)
	good := append(bytes.Clone(head), entry(1, 4, sha384, "\x00\x00\x00\x00")...)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name    string
		log     []byte
		wantErr string
		code    vm.Code
	}{
		{"good", good, "", ""},
		{"padded with ones", join(good, bytes.Repeat([]byte{0xff}, 70)), "", ""},
		{"padded with zeros", join(good, make([]byte, 3)), "", ""},
		{"two algorithms", join(header(11, 32, 12, 48), entry(4, 4, []uint16{11, 12}, "")), "", ""},
		{"nothing", nil, "does not begin", vm.CodeMalformed},
		{"padding only", bytes.Repeat([]byte{0xff}, 100), "does not begin", vm.CodeMalformed},
		{"header only", head, "no event", vm.CodeMalformed},
		{"mixed padding", join(good, []byte{0xff, 0xff, 0xff, 0}), "names 0 digests", vm.CodeMalformed},
		{"padding that is almost ones", join(good, []byte{0xff, 0xff, 0xff, 0xfe}), "names 0 digests", vm.CodeMalformed},
		{"cut in the digest", good[:len(good)-20], "cut off", vm.CodeMalformed},
		{"cut in the data", good[:len(good)-1], "cut off", vm.CodeMalformed},
		{"cut in the header", head[:40], "crypto-agile", vm.CodeMalformed},
		{"old format", join(make([]byte, 4), []byte{3, 0, 0, 0}, make([]byte, 24)), "crypto-agile", vm.CodeMalformed},
		{"no SHA-384", join(header(11, 32), entry(1, 4, []uint16{11}, "")), "no SHA-384", vm.CodeMalformed},
		{"SHA-384 of 32 bytes", join(header(12, 32), entry(1, 4, sha384, "")), "no SHA-384", vm.CodeMalformed},
		{"no algorithm", header(), "names 0 digest algorithms", vm.CodeMalformed},
		{"algorithm twice", join(header(12, 48, 12, 48), good[len(head):]), "twice", vm.CodeMalformed},
		{"SHA-384 left out", join(header(11, 32, 12, 48), entry(1, 4, []uint16{11}, "")), "no SHA-384 digest", vm.CodeMalformed},
		{"digest twice", join(header(11, 32, 12, 48), entry(1, 4, []uint16{12, 12}, "")), "unknown or twice", vm.CodeMalformed},
		{"unknown algorithm", join(head, entry(1, 4, []uint16{4}, "")), "unknown or twice", vm.CodeMalformed},
		{"MRTD", join(head, entry(0, 4, sha384, "")), "names register 0", vm.CodeMalformed},
		{"register 5", join(head, entry(5, 4, sha384, "")), "names register 5", vm.CodeMalformed},
		{"huge area", make([]byte, 5<<20), "area of", vm.CodeTooLarge},
		{"too many bytes", join(head, entry(1, 4, sha384, strings.Repeat("x", vm.MaxBootLogSize))), "more than", vm.CodeTooLarge},
		{"too many events", join(head, bytes.Repeat(entry(1, 4, sha384, ""), 4097)), "more than", vm.CodeTooLarge},
	} {
		_, err := eventlog.ParseCCEL(tt.log)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || vm.CodeOf(err) != tt.code) {
			t.Errorf("%s: ParseCCEL = %v, want %q [%s]", tt.name, err, tt.wantErr, tt.code)
		}
	}
}

// Old TPM logs and half logs of other projects: refused, without panic.
func TestK8_ForeignLogsAreRefused(t *testing.T) {
	for _, name := range []string{
		"go-eventlog/testdata/legacydata/short_no_action_eventlog", "go-eventlog/testdata/legacydata/option_rom_eventlog",
		"measure/go-eventlog/CCEL.bin", "measure/cc-api/ima_log.bin", "dstack/dstack/cc-eventlog/samples/tpm_eventlog.bin",
		"go-eventlog/testdata/eventlogs/tpm/arch-linux-workstation.bin",
	} {
		if _, err := eventlog.ParseCCEL(vectors.Read(t, name)); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%s: ParseCCEL = %v, want it malformed", name, err)
		}
	}
}

func FuzzParseCCEL(f *testing.F) {
	f.Add(append(header(12, 48), entry(1, 4, []uint16{12}, "\x00\x00\x00\x00")...))
	for _, name := range []string{"measure/trustee/CCEL_data_ovmf", "measure/trustee/CCEL_data_grub", "measure/cc-api/ccel_data.bin"} {
		if b, ok := vectors.Seed(name); ok {
			f.Add(bytes.TrimRight(b, "\xff"))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := eventlog.ParseCCEL(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		_ = log.Check()
		if got := len(log.Describe()); got != len(log) {
			t.Fatalf("%d events described, want %d", got, len(log))
		}
		if d := eventlog.Diff(log.Events(), log.Events()); len(d) != 0 {
			t.Fatalf("a log differs from itself: %v", d)
		}
	})
}
