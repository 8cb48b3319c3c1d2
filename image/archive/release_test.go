package archive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/secretvm/secretvm/vm"
)

var (
	released = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	soon     = released.Add(24 * time.Hour)
)

// key makes an archive key that was valid when the release was signed.
func key(t testing.TB) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("test archive", "", "archive@test.example", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return released.Add(-time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sign returns text as InRelease files have it.
func sign(t testing.TB, e *openpgp.Entity, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := clearsign.Encode(&buf, e.PrivateKey, &packet.Config{Time: func() time.Time { return released }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// releaseText is a Release file that lists files.
func releaseText(suite string, date time.Time, validUntil time.Time, files map[string][]byte) string {
	s := fmt.Sprintf("Origin: Test\nSuite: stable\nCodename: %s\nDate: %s\n", suite, date.Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	if !validUntil.IsZero() {
		s += "Valid-Until: " + validUntil.Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
	}
	s += "SHA256:\n"
	for name, b := range files {
		s += fmt.Sprintf(" %s %d %s\n", vm.HashOf(b), len(b), name)
	}
	return s
}

func TestVerifyRelease(t *testing.T) {
	ours, theirs := key(t), key(t)
	text := releaseText("trixie", released, released.Add(7*24*time.Hour), map[string][]byte{"main/x": []byte("x")})
	good := sign(t, ours, text)
	for _, c := range []struct {
		name         string
		inRelease    []byte
		suite        string
		now          time.Time
		allowExpired bool
		wantErr      string
	}{
		{name: "good", inRelease: good, suite: "trixie", now: soon},
		{name: "forged by another key", inRelease: sign(t, theirs, text), suite: "trixie", now: soon, wantErr: "verify signature"},
		{name: "altered", inRelease: bytes.Replace(good, []byte("main/x"), []byte("main/y"), 1), suite: "trixie", now: soon, wantErr: "verify signature"},
		{name: "unsigned", inRelease: []byte(text), suite: "trixie", now: soon, wantErr: "not one clear-signed"},
		{name: "text in front", inRelease: append([]byte("Codename: trixie\n"), good...), suite: "trixie", now: soon, wantErr: "not one clear-signed"},
		{name: "text behind", inRelease: append(bytes.Clone(good), "Codename: evil\n"...), suite: "trixie", now: soon, wantErr: "not one clear-signed"},
		{name: "another suite", inRelease: good, suite: "trixie-security", now: soon, wantErr: "want trixie-security"},
		{name: "expired", inRelease: good, suite: "trixie", now: released.Add(8 * 24 * time.Hour), wantErr: "expired on"},
		{name: "expired, allowed", inRelease: good, suite: "trixie", now: released.Add(8 * 24 * time.Hour), allowExpired: true},
		{
			name: "from the future", inRelease: sign(t, ours, releaseText("trixie", released.Add(72*time.Hour), time.Time{}, nil)),
			suite: "trixie", now: soon, wantErr: "in the future",
		},
		{name: "no expiry", inRelease: sign(t, ours, releaseText("trixie", released, time.Time{}, nil)), suite: "trixie", now: released.Add(300 * 24 * time.Hour)},
		{name: "bad date", inRelease: sign(t, ours, "Codename: trixie\nDate: yesterday\n"), suite: "trixie", now: soon, wantErr: "date"},
		{name: "bad digest", inRelease: sign(t, ours, "Codename: trixie\nDate: Fri, 20 Nov 2026 12:00:00 UTC\nSHA256:\n zz 1 main/x\n"), suite: "trixie", now: soon, wantErr: "main/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := VerifyRelease(c.inRelease, c.suite, openpgp.EntityList{ours}, c.now, c.allowExpired)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error is %v, want one about %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !r.Date.Equal(released) || r.Codename != "trixie" {
				t.Errorf("release is of %s, %s", r.Codename, r.Date)
			}
		})
	}
}

// The keys of the repository are those that Debian publishes: fingerprints from
// the archive's key page.
func TestKeysAreDebians(t *testing.T) {
	keys, err := Keys()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, k := range keys {
		got[fmt.Sprintf("%X", k.PrimaryKey.Fingerprint)] = true
	}
	want := []string{
		"04B54C3CDCA79751B16BC6B5225629DF75B188BD", // archive automatic, 13/trixie
		"5E04A1E3223A19A20706E20F9904613D4CCE68C6", // security archive automatic, 13/trixie
		"41587F7DB8C774BCCF131416762F67A0B2C39DE4", // stable release, 13/trixie
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("key %s is missing", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add(releaseText("trixie", released, soon, map[string][]byte{"main/x": []byte("x")}))
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseRelease([]byte(text)) })
}
