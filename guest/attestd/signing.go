package attestd

import (
	"encoding/hex"
	"net/http"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/vm"
)

// servePublicKey gives the key of a kind that signs messages, as PEM.
func (s *Server) servePublicKey(kind string) http.HandlerFunc {
	return s.withKey(kind, func(w http.ResponseWriter, _ *http.Request, pem []byte) {
		write(w, http.StatusOK, typeText, pem)
	})
}

// serveKeyQuote gives the quote about it, in the form of /cpu.
func (s *Server) serveKeyQuote(kind string) http.HandlerFunc {
	return s.withKey(kind, func(w http.ResponseWriter, r *http.Request, _ []byte) {
		ev, err := s.keys[kind].get(r.Context())
		if err != nil {
			s.failQuote(w, err)
			return
		}
		write(w, http.StatusOK, typeText, append(quoteText(ev), '\n'))
	})
}

func (s *Server) withKey(kind string, serve func(w http.ResponseWriter, r *http.Request, pem []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if pem := s.status().Keys[kind]; pem != nil {
			serve(w, r, pem)
			return
		}
		serveAbsent("this machine has no "+kind+" key that signs messages")(w, r)
	}
}

// serveApplication answers a nonce with the application's log, and a fresh quote
// over it.
func (s *Server) serveApplication(w http.ResponseWriter, r *http.Request) {
	if len(s.config.API) == 0 {
		serveAbsent("no container of this machine may add to a log")(w, r)
		return
	}
	nonce, refusal := readNonce(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	a := vm.Application{Nonce: hex.EncodeToString(nonce), Events: []vm.Event{}}
	quoted, err := s.quote(r.Context(), attestation.Question{For: attestation.ForApplication, Nonce: nonce})
	if err != nil {
		s.failQuote(w, err)
		return
	}
	a.Evidence, a.Register, a.Events = quoted.Evidence, quoted.Register, append(a.Events, quoted.Events...)
	if a.Evidence.TEE != vm.SNP { // as in /attestation
		a.Evidence.Events = s.opt.Events
	}
	writeJSON(w, http.StatusOK, a)
}
