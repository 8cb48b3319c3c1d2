package archive

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/vm"
)

// The public keys of Debian 13's archives, from its package
// debian-archive-keyring; the host's own keyring is never asked.
//
//go:embed keys/*.pgp
var keyFiles embed.FS

// Release is a verified Release file.
type Release struct {
	Suite      string
	Codename   string
	Date       time.Time
	ValidUntil time.Time // zero: does not expire (a stable release)
	Files      map[string]FileSum
	SHA256     vm.Hash // of the InRelease file
}

// FileSum is what a Release file says of one index.
type FileSum struct {
	SHA256 vm.Hash
	Size   int64
}

// Keys returns the keys that may sign Debian's archives.
func Keys() (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	entries, err := keyFiles.ReadDir("keys")
	if err != nil {
		return nil, fmt.Errorf("list archive keys: %w", err)
	}
	for _, e := range entries {
		b, err := keyFiles.ReadFile("keys/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read archive key: %w", err)
		}
		ring, err := openpgp.ReadKeyRing(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read archive key %s: %w", e.Name(), err)
		}
		keys = append(keys, ring...)
	}
	return keys, nil
}

// VerifyRelease checks the signature of an InRelease file made at or before now
// by one of keys, and that it is about suite and has not expired at now;
// allowExpired skips the last, for mirrors that keep an old state.
func VerifyRelease(inRelease []byte, suite string, keys openpgp.EntityList, now time.Time, allowExpired bool) (Release, error) {
	block, rest := clearsign.Decode(inRelease)
	if block == nil || len(bytes.TrimSpace(rest)) != 0 || !bytes.HasPrefix(inRelease, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return Release{}, errors.New("InRelease is not one clear-signed message")
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	if _, err := block.VerifySignature(keys, config); err != nil {
		return Release{}, fmt.Errorf("verify signature of InRelease: %w", err)
	}
	r, err := parseRelease(block.Plaintext)
	if err != nil {
		return r, err
	}
	r.SHA256 = vm.HashOf(inRelease)
	switch {
	case r.Codename != suite && r.Suite != suite:
		return r, fmt.Errorf("InRelease is of %s (%s), want %s", r.Codename, r.Suite, suite)
	case r.Date.After(now.Add(24 * time.Hour)):
		return r, fmt.Errorf("InRelease of %s is dated %s, in the future: is this machine's clock right?", suite, r.Date.Format(time.RFC3339))
	case !allowExpired && !r.ValidUntil.IsZero() && now.After(r.ValidUntil):
		return r, fmt.Errorf("InRelease of %s expired on %s: the mirror is out of date; try another --mirror, or --allow-expired",
			suite, r.ValidUntil.Format(time.RFC3339))
	}
	return r, nil
}

// parseRelease reads the one stanza of a Release file.
func parseRelease(text []byte) (Release, error) {
	stanza, err := deb.NewStanzas(bytes.NewReader(text)).Next()
	if err != nil {
		return Release{}, fmt.Errorf("parse Release: %w", err)
	}
	r := Release{Suite: stanza["suite"], Codename: stanza["codename"], Files: map[string]FileSum{}}
	if r.Date, err = parseDate(stanza["date"]); err != nil {
		return r, fmt.Errorf("parse Release: date: %w", err)
	}
	if until := stanza["valid-until"]; until != "" {
		if r.ValidUntil, err = parseDate(until); err != nil {
			return r, fmt.Errorf("parse Release: valid-until: %w", err)
		}
	}
	for line := range strings.Lines(stanza["sha256"]) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return r, fmt.Errorf("parse Release: SHA256 has the line %.80q", line)
		}
		sum, err := vm.ParseHash(fields[0])
		if err != nil {
			return r, fmt.Errorf("parse Release: %s: %w", fields[2], err)
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || size < 0 {
			return r, fmt.Errorf("parse Release: %s has the size %q", fields[2], fields[1])
		}
		r.Files[fields[2]] = FileSum{sum, size}
	}
	return r, nil
}

// parseDate reads the date of a Release file, which is in UTC whatever it calls it.
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse("Mon, _2 Jan 2006 15:04:05 MST", s)
	if err != nil {
		return t, err
	}
	return t.UTC(), nil
}
