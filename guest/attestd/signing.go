package attestd

import (
	"encoding/hex"
	"net/http"

	"github.com/secretvm/secretvm/vm"
)

// servePublicKey gives the key of a kind that signs messages, as PEM.
func (s *Server) servePublicKey(kind string) http.HandlerFunc {
	return s.withKey(kind, func(w http.ResponseWriter, _ *http.Request, pem []byte, _ [64]byte) {
		write(w, http.StatusOK, typeText, pem)
	})
}

// serveKeyQuote gives the quote about it, in the form of /cpu.
func (s *Server) serveKeyQuote(kind string) http.HandlerFunc {
	return s.withKey(kind, func(w http.ResponseWriter, r *http.Request, _ []byte, reportData [64]byte) {
		ev, err := s.keys[kind].get(r.Context(), reportData)
		if err != nil {
			s.failQuote(w, err)
			return
		}
		write(w, http.StatusOK, typeText, append(quoteText(ev), '\n'))
	})
}

func (s *Server) withKey(kind string, serve func(w http.ResponseWriter, r *http.Request, pem []byte, reportData [64]byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opt.Signing != nil {
			if pem, reportData := s.opt.Signing.PublicKey(kind); pem != nil {
				serve(w, r, pem, reportData)
				return
			}
		}
		serveAbsent("this machine has no "+kind+" key that signs messages")(w, r)
	}
}

// serveApplication answers a nonce with the application's log, and a fresh quote
// over it.
func (s *Server) serveApplication(w http.ResponseWriter, r *http.Request) {
	if s.opt.Signing == nil {
		serveAbsent("no container of this machine may add to a log")(w, r)
		return
	}
	nonce, refusal := readNonce(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	a := vm.Application{Nonce: hex.EncodeToString(nonce), Events: []vm.Event{}}
	register, events := s.opt.Signing.Application()
	a.Register, a.Events = register, append(a.Events, events...)
	var err error
	if a.Evidence, err = s.quotes.Quote(r.Context(), vm.ApplicationReportData(register, nonce)); err != nil {
		s.failQuote(w, err)
		return
	}
	if a.Evidence.TEE != vm.SNP { // as in /attestation
		a.Evidence.Events = s.opt.Events
	}
	writeJSON(w, http.StatusOK, a)
}
