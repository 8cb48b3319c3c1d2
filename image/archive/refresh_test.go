package archive

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ulikunitz/xz"

	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// mirror serves files, as a mirror does.
func mirror(t *testing.T, files map[string][]byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[strings.TrimPrefix(r.URL.Path, "/debian/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/debian"
}

// Packages of other components are taken where the specification names these, and
// what they depend on stays away from a group of packages alone.
func TestRefreshReadsComponents(t *testing.T) {
	ours := key(t)
	pack := func(text string) []byte {
		var buf bytes.Buffer
		w, err := xz.NewWriter(&buf)
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
	indexes := map[string][]byte{
		"main/binary-amd64/Packages.xz":     pack(stanza("lib", "1.0", "", "")),
		"non-free/binary-amd64/Packages.xz": pack(stanza("driver", "550", "lib, absent", "")),
	}
	files := map[string][]byte{"dists/trixie/InRelease": sign(t, ours, releaseText("trixie", released, soon, indexes))}
	for name, b := range indexes {
		files["dists/trixie/"+path.Dir(name)+"/by-hash/SHA256/"+vm.HashOf(b).String()] = b
	}
	f := Refresher{
		Client: &fetch.Client{Pause: time.Millisecond}, Mirrors: Mirrors{Debian: {mirror(t, files)}}, Keys: openpgp.EntityList{ours},
		Now: func() time.Time { return soon },
	}
	for _, tt := range []struct {
		components []string
		wanted     Wanted
		want       int
		wantErr    string
	}{
		{[]string{"non-free"}, Wanted{Packages: []string{"driver"}, Alone: true}, 1, ""},
		{[]string{"non-free"}, Wanted{Packages: []string{"driver", "lib"}, Alone: true}, 2, ""},
		{[]string{"non-free"}, Wanted{Packages: []string{"driver"}}, 0, "absent"},
		{nil, Wanted{Packages: []string{"driver"}, Alone: true}, 0, "no suite has the package driver"},
		{[]string{"contrib"}, Wanted{Packages: []string{"lib"}}, 0, "suite trixie has no contrib/binary-amd64/Packages"},
	} {
		l, err := f.Refresh(t.Context(), []SuiteSpec{{Archive: Debian, Suite: "trixie", Components: tt.components}}, map[string]Wanted{lock.Source: tt.wanted}, lock.Lock{})
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%v, %+v: error is %v, want one with %q", tt.components, tt.wanted, err, tt.wantErr)
			}
			continue
		}
		if err != nil || len(l.Groups[lock.Source]) != tt.want {
			t.Errorf("%v, %+v: %+v, %v; want %d packages", tt.components, tt.wanted, l.Groups, err, tt.want)
		}
	}
}

// suite is a suite as files of a mirror.
func suite(t *testing.T, signer *openpgp.Entity, date time.Time, packages string) map[string][]byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := xz.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(packages)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := mainComponent + "/" + packagesIndex + ".xz"
	text := releaseText("trixie", date, date.Add(7*24*time.Hour), map[string][]byte{name: buf.Bytes()})
	return map[string][]byte{
		"dists/trixie/InRelease": sign(t, signer, text),
		"dists/trixie/main/binary-amd64/by-hash/SHA256/" + vm.HashOf(buf.Bytes()).String(): buf.Bytes(),
	}
}

func refresh(t *testing.T, signer *openpgp.Entity, previous lock.Lock, mirrors ...string) (lock.Lock, error) {
	t.Helper()
	f := Refresher{
		Client: &fetch.Client{Pause: time.Millisecond}, Mirrors: Mirrors{Debian: mirrors}, Keys: openpgp.EntityList{signer},
		Now: func() time.Time { return soon },
	}
	return f.Refresh(t.Context(), []SuiteSpec{{Archive: Debian, Suite: "trixie"}}, map[string]Wanted{lock.Guest: {Packages: []string{"app"}}}, previous)
}

func TestRefresh(t *testing.T) {
	ours := key(t)
	good := mirror(t, suite(t, ours, released, stanza("app", "1.0", "lib", "")+stanza("lib", "1.0", "", "")))
	forged := mirror(t, suite(t, key(t), released, stanza("app", "6.6.6", "", "")))
	stale := mirror(t, suite(t, ours, released.Add(-30*24*time.Hour), stanza("app", "0.9", "", "")))

	t.Run("from a good mirror", func(t *testing.T) {
		l, err := refresh(t, ours, lock.Lock{}, good)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Groups[lock.Guest]) != 2 || l.Groups[lock.Guest][0].Archive != Debian || l.Suites[0].Date != "2026-11-20T12:00:00Z" {
			t.Errorf("lock is %+v", l)
		}
	})
	t.Run("past mirrors that are forged, stale or empty", func(t *testing.T) {
		l, err := refresh(t, ours, lock.Lock{}, forged, stale, mirror(t, nil), good)
		if err != nil {
			t.Fatal(err)
		}
		if v := l.Groups[lock.Guest][0].Version; v != "1.0" {
			t.Errorf("version is %s, want 1.0", v)
		}
	})
	t.Run("forged", func(t *testing.T) {
		if _, err := refresh(t, ours, lock.Lock{}, forged); err == nil || !strings.Contains(err.Error(), "verify signature") {
			t.Errorf("error is %v, want one about the signature", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		if _, err := refresh(t, ours, lock.Lock{}, stale); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("error is %v, want one about its expiry", err)
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		previous := lock.Lock{Suites: []lock.Suite{{Archive: Debian, Name: "trixie", Date: released.Add(time.Hour).Format(time.RFC3339)}}}
		if _, err := refresh(t, ours, previous, good); err == nil || !strings.Contains(err.Error(), "older than the lock") {
			t.Errorf("error is %v, want one about its age", err)
		}
	})
	t.Run("altered index", func(t *testing.T) {
		files := suite(t, ours, released, stanza("app", "1.0", "", ""))
		for name, b := range files {
			if strings.Contains(name, "by-hash") {
				b[len(b)-1] ^= 1
			}
		}
		if _, err := refresh(t, ours, lock.Lock{}, mirror(t, files)); err == nil || !strings.Contains(err.Error(), "not what InRelease says") {
			t.Errorf("error is %v, want one about the digest", err)
		}
	})
	t.Run("no mirror", func(t *testing.T) {
		if _, err := refresh(t, ours, lock.Lock{}); err == nil || !strings.Contains(err.Error(), "--mirror debian=URL") {
			t.Errorf("error is %v, want one that says how to name a mirror", err)
		}
	})
}
