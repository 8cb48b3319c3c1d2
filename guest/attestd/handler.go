package attestd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web"
)

const (
	typeJSON = "application/json"
	typeText = "text/plain; charset=utf-8"
	typeHTML = "text/html; charset=utf-8"
)

// Handler returns the service without TLS, for Serve.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, serve := range map[string]http.HandlerFunc{
		"/{$}":            s.servePage,
		"/status":         s.serveStatus,
		"/attestation":    s.serveAttestation,
		"/cpu":            s.serveCPU,
		"/config":         s.serveConfig,
		"/events":         s.serveEvents,
		"/docker-compose": s.serveCompose,
		"/healthz":        func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, typeText, []byte("ok\n")) },
		"/favicon.ico":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"/":               serveUnknown,
	} {
		mux.HandleFunc(path, serve)
	}
	mux.Handle("/.well-known/", http.StripPrefix("/.well-known", mux))
	return guard(mux)
}

// guard sets the headers of every answer and turns away what no endpoint
// wants: other methods and bodies.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", web.ContentSecurityPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Access-Control-Allow-Origin", "*") // everything here is public, nothing depends on cookies
		h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
		switch {
		case r.Method == http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
		case r.Method != http.MethodGet:
			h.Set("Allow", "GET, OPTIONS")
			fail(w, http.StatusMethodNotAllowed, vm.Refuse(vm.CodeInvalid, "method not allowed").
				On("method", r.Method, http.MethodGet))
		case r.ContentLength != 0: // -1: chunked
			h.Set("Connection", "close")
			fail(w, http.StatusRequestEntityTooLarge, vm.Refuse(vm.CodeTooLarge, "a request here has no body"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func serveUnknown(w http.ResponseWriter, _ *http.Request) {
	fail(w, http.StatusNotFound, vm.Refuse(vm.CodeInvalid, "there is no such page").
		Try("see / for what this service answers"))
}

// serveAttestation answers a nonce with a fresh quote over it and the TLS key.
func (s *Server) serveAttestation(w http.ResponseWriter, r *http.Request) {
	nonce, refusal := readNonce(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	ev, err := s.quotes.Quote(r.Context(), vm.AttestationReportData(s.key.spki, nonce))
	if err != nil {
		s.failQuote(w, err)
		return
	}
	if ev.TEE != vm.SNP { // its report has no register that they explain; /events has them
		ev.Events = s.opt.Events
	}
	writeJSON(w, http.StatusOK, vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: s.key.spki, Evidence: ev})
}

func readNonce(r *http.Request) ([]byte, *vm.Refusal) {
	const try = "ask for /attestation?nonce=<hex of 16 to 64 random bytes of your own>"
	values := r.URL.Query()["nonce"]
	if len(values) != 1 {
		return nil, vm.Refuse(vm.CodeInvalid, "the request must carry one nonce").
			On("nonce", strconv.Itoa(len(values))+" values", "1").Try(try)
	}
	if n := len(values[0]); n < 2*vm.MinNonceSize || n > 2*vm.MaxNonceSize {
		return nil, vm.Refuse(vm.CodeInvalid, "the nonce has the wrong length").
			On("nonce", strconv.Itoa(n)+" characters", "32 to 128 hex digits").Try(try)
	}
	nonce, err := hex.DecodeString(values[0])
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "the nonce is not hex").Try(try)
	}
	return nonce, nil
}

// serveCPU gives the quote as existing verifiers fetch it: lower-case hex.
func (s *Server) serveCPU(w http.ResponseWriter, r *http.Request) {
	quote, err := s.cpu.get(r.Context())
	if err != nil {
		s.failQuote(w, err)
		return
	}
	write(w, http.StatusOK, typeText, append(hex.AppendEncode(nil, quote), '\n'))
}

// failQuote tells a busy service from a failing device; what the device said
// goes to the log, not to strangers.
func (s *Server) failQuote(w http.ResponseWriter, err error) {
	if errors.Is(err, errBusy) {
		w.Header().Set("Retry-After", "2")
		fail(w, http.StatusServiceUnavailable, vm.Refuse(vm.CodeUnavailable, "%v", err).Try("ask again in a few seconds"))
		return
	}
	s.opt.Log.Error("quote failed", "error", err)
	fail(w, http.StatusInternalServerError, vm.Refuse(vm.CodeInternal, "the TEE gave no quote").
		Try("the machine's console says why"))
}

func (s *Server) serveConfig(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, typeJSON, s.opt.Config)
}

func (s *Server) serveEvents(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opt.Events)
}

func (s *Server) composeIsOpen() bool { return slices.Contains(s.config.Open, "compose") }

// serveCompose gives the file byte for byte where the measured config opens
// it; its digest is public always.
func (s *Server) serveCompose(w http.ResponseWriter, _ *http.Request) {
	if !s.composeIsOpen() {
		body := failure(vm.Refuse(vm.CodePermission, "the owner did not open the compose file to strangers").
			Try(`its digest is public; the owner opens the file with "open: [compose]" under x-secretvm`))
		body["compose_hash"] = s.config.ComposeHash.String()
		writeJSON(w, http.StatusForbidden, body)
		return
	}
	write(w, http.StatusOK, typeText, s.opt.Compose)
}

// plainHost is a host name or address with an optional port, safe to show in a
// command that people copy.
var plainHost = regexp.MustCompile(`^(\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?)(:[0-9]{1,5})?$`)

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	page := web.AttestationPage{
		TEE: s.opt.TEE, Config: s.config, ConfigHash: s.digest, Measurement: s.opt.Measurement,
		Events: s.opt.Events, TLSKey: s.key.spki, Uptime: time.Since(s.opt.Booted),
	}
	if plainHost.MatchString(r.Host) {
		page.Host = r.Host
	}
	if s.composeIsOpen() {
		page.Compose = s.opt.Compose
	}
	status := s.opt.Status()
	page.Workload = status.Workload
	for _, st := range status.Steps {
		page.Boot = append(page.Boot, web.BootStep{Name: st.Name, Took: st.Took, Failed: st.Error != ""})
	}
	var buf bytes.Buffer
	if err := page.Render(&buf); err != nil {
		s.opt.Log.Error("page failed", "error", err)
		fail(w, http.StatusInternalServerError, vm.Refuse(vm.CodeInternal, "the page could not be made"))
		return
	}
	write(w, http.StatusOK, typeHTML, buf.Bytes())
}

// fail answers with the refusal as JSON.
func fail(w http.ResponseWriter, status int, r *vm.Refusal) { writeJSON(w, status, failure(r)) }

// failure has the two fields that existing clients read, and the code.
func failure(r *vm.Refusal) map[string]any {
	body := map[string]any{"error": r.Error(), "code": r.Code}
	if r.Hint != "" {
		body["details"] = r.Hint
	}
	return body
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only a bug in this package's own types
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	write(w, status, typeJSON, append(b, '\n'))
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone: nobody to tell
}
