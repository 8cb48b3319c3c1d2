package attestd

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web"
)

const (
	typeJSON   = "application/json"
	typeText   = "text/plain; charset=utf-8"
	typeHTML   = "text/html; charset=utf-8"
	typeZip    = "application/zip"
	typeStream = "text/event-stream"
)

// endpoint is what one path serves.
type endpoint struct {
	serve http.HandlerFunc
	open  string // the word of vm.Config.Open that opens it; "": everyone may ask
	page  string // title of the same as a page for people, at path.html; "": there is none
}

// endpoints is the whole service; openapi.json describes it, and a test holds
// the two against each other.
func (s *Server) endpoints() map[string]endpoint {
	return map[string]endpoint{
		// What this machine is, and the proof.
		"/{$}":         {serve: s.servePage},
		"/attestation": {serve: s.serveAttestation},
		"/bundle":      {serve: s.serveBundle},
		"/cpu":         {serve: s.serveCPU, page: "Quote"},
		"/gpu":         {serve: s.serveGPU, page: "Evidence of GPUs"},
		"/self":        {serve: s.serveSelf, page: "Registers"},
		"/collateral":  {serve: s.serveCollateral, page: "Collateral"},
		"/config":      {serve: s.serveConfig, page: "Configuration"},
		"/events":      {serve: s.serveEvents, page: "Events"},
		"/info":        {serve: s.serveInfo, page: "Identity"},
		"/status":      {serve: s.serveStatus, page: "Status"},
		"/vm_upgrades": {serve: s.serveUpgrades, page: "Upgrades"},

		// What its containers prove: keys that sign messages, and their log.
		"/publickey_ed25519":     {serve: s.servePublicKey(vm.SignEd25519), page: "Signing key (Ed25519)"},
		"/publickey_secp256k1":   {serve: s.servePublicKey(vm.SignSecp256k1), page: "Signing key (secp256k1)"},
		"/attestation_ed25519":   {serve: s.serveKeyQuote(vm.SignEd25519), page: "Quote about the signing key (Ed25519)"},
		"/attestation_secp256k1": {serve: s.serveKeyQuote(vm.SignSecp256k1), page: "Quote about the signing key (secp256k1)"},
		"/application":           {serve: s.serveApplication},

		// What the machine does: closed unless the measured config opens it.
		"/docker-compose":   {serve: s.serveCompose, open: "compose", page: "Compose file"},
		"/services":         {serve: s.serveServices, open: "services", page: "Services"},
		"/logs":             {serve: s.serveLogs, open: "logs", page: "Logs"},
		"/logs/stream":      {serve: s.streamLogs, open: "logs"},
		"/resources":        {serve: s.serveResources, open: "resources"},
		"/resources.html":   {serve: s.servePageOfResources, open: "resources"},
		"/resources/stream": {serve: s.streamResources, open: "resources"},
		"/metrics":          {serve: s.serveMetrics, open: "metrics"},

		// Tokens of third parties, which existing services have.
		"/ita-jwt": {serve: serveAbsent("Intel Trust Authority is not asked: the quote is checked without it"), page: "Intel Trust Authority"},
		"/poc-jwt": {serve: serveAbsent("there is no proof of cloud"), page: "Proof of cloud"},

		"/openapi.json": {serve: func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, typeJSON, openAPI) }},
		"/healthz":      {serve: func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, typeText, []byte("ok\n")) }},
		"/favicon.ico":  {serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
	}
}

// Handler returns the service without TLS, for Serve.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, e := range s.endpoints() {
		serve := s.closed(e)
		mux.HandleFunc(path, serve)
		if e.page != "" {
			mux.HandleFunc(path+".html", s.twin(path, e.page, serve))
		}
	}
	mux.HandleFunc("/", serveUnknown)
	mux.Handle("/.well-known/", http.StripPrefix("/.well-known", mux))
	return s.guard(mux)
}

// guard sets the headers of every answer, lets requests in at a bounded rate,
// and turns away what no endpoint wants: other methods and bodies.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", web.ContentSecurityPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Pages of other origins may read what everyone may: nothing depends on
		// cookies, and the headers that carry a token are not allowed to them.
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
		s.counts.requests.Add(1)
		if err := s.work.take(r.Context()); err != nil {
			s.failBusy(w)
			return
		}
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
		Try("see / for people and /openapi.json for programs"))
}

// serveAbsent answers for what this machine does not have.
func serveAbsent(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, vm.Refuse(vm.CodeUnavailable, "%s", why).Try("see / for what this service answers"))
	}
}

// failBusy turns a request away for now.
func (s *Server) failBusy(w http.ResponseWriter) {
	s.counts.busy.Add(1)
	w.Header().Set("Retry-After", "2")
	fail(w, http.StatusServiceUnavailable, vm.Refuse(vm.CodeUnavailable, "%v", pace.ErrBusy).Try("ask again in a few seconds"))
}

// fail answers with the refusal as JSON.
func fail(w http.ResponseWriter, status int, r *vm.Refusal) {
	// The two fields that existing clients read, and the code.
	body := map[string]any{"error": r.Error(), "code": r.Code, "details": r.Hint}
	if r.Hint == "" {
		body["details"] = r.Reason
	}
	writeJSON(w, status, body)
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

// isJSON reports whether a content type is JSON's.
func isJSON(contentType string) bool { return strings.HasPrefix(contentType, typeJSON) }
