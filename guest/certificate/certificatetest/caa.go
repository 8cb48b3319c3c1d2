package certificatetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// SetCAA writes CAA records (RFC 8659, as lines of a zone) into the DNS. Pebble
// does not look at them, so the authority does in front of it, as every public
// one must: it signs for nobody but the accounts that they name (RFC 8657).
func (c *CA) SetCAA(records ...string) { c.records.Store(&records) }

// allows reports whether the records let an account have certificates.
func (c *CA) allows(account string) bool {
	records := c.records.Load()
	if records == nil {
		return true
	}
	restricted := false
	for _, line := range *records {
		_, value, is := strings.Cut(line, " CAA 0 issue ")
		if !is {
			continue // issuewild
		}
		restricted = true
		parameters := strings.Split(strings.Trim(value, `"`), ";")
		if strings.TrimSpace(parameters[0]) != Identity {
			continue
		}
		bound := true
		for _, p := range parameters[1:] {
			if uri, is := strings.CutPrefix(strings.TrimSpace(p), "accounturi="); is {
				bound = uri == account
			}
		}
		if bound {
			return true
		}
	}
	return !restricted
}

// enforceCAA refuses to sign for accounts that the records do not allow.
func (c *CA) enforceCAA(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/finalize-order/") {
			next.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var signed struct{ Protected string }
		var head struct{ Kid string }
		_ = json.Unmarshal(body, &signed)
		b, _ := base64.RawURLEncoding.DecodeString(signed.Protected)
		_ = json.Unmarshal(b, &head)
		if c.allows(head.Kid) {
			next.ServeHTTP(w, r)
			return
		}
		Problem(w, http.StatusForbidden, "caa", "CAA record for the name prevents issuance")
	})
}

// Problem answers as an authority does that refuses (RFC 8555, 6.7).
func Problem(w http.ResponseWriter, status int, kind, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":%q,"status":%d}`, kind, detail, status)
}
