package attestd

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// closed turns away who may not ask for e.
func (s *Server) closed(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if e.open == "" || s.allowed(e.open, r) {
			e.serve(w, r)
			return
		}
		text := fmt.Sprintf("closed: the owner did not open %q to strangers (open: [%s] under x-secretvm does), and this request shows no token that does.\n", e.open, e.open)
		if e.open == "compose" {
			text += fmt.Sprintf("The compose file's digest is public: sha256 %s\n", s.config.ComposeHash)
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		write(w, http.StatusUnauthorized, typeText, []byte(text))
	}
}

// allowed reports whether the measured config opens what word names, or the
// request carries a token whose digest is measured. Tokens come in a header
// alone: what stands in a URL ends in histories and logs.
func (s *Server) allowed(word string, r *http.Request) bool {
	if slices.Contains(s.config.Open, word) {
		return true
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer {
		token = r.Header.Get("X-Dev-Token") // the header of existing clients
	}
	digest, equal := vm.HashOf([]byte(token)), 0
	for _, t := range s.config.Tokens { // all of them: time says nothing about which
		equal |= subtle.ConstantTimeCompare(digest[:], t[:])
	}
	return equal == 1 && token != ""
}
