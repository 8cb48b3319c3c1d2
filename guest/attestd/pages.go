package attestd

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web"
)

// plainHost is a host name or address with an optional port, safe to show in a
// command that people copy.
var plainHost = vm.Pattern(`^(\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?)(:[0-9]{1,5})?$`)

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	page := web.AttestationPage{
		TEE: s.opt.TEE, Config: s.config, ConfigHash: s.digest, Measurement: s.opt.Measurement,
		Events: s.opt.Events, TLSKey: s.key.SPKI, Uptime: time.Since(s.opt.Booted),
	}
	if plainHost(r.Host) {
		page.Host = r.Host
	}
	if slices.Contains(s.config.Open, "compose") {
		page.Compose = s.opt.Compose
	}
	status := s.status()
	page.Workload = status.Workload
	for _, st := range status.Steps {
		page.Boot = append(page.Boot, web.BootStep{Name: st.Name, Took: st.Took, Failed: st.Error != ""})
	}
	s.render(w, page.Render)
}

// twin serves, as a page for people, what serve answers under path. Answers
// other than "OK" pass unchanged.
func (s *Server) twin(path, title string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := capture{ResponseWriter: w, status: http.StatusOK}
		serve(&answer, r)
		text := answer.body.Bytes()
		if answer.status != http.StatusOK {
			w.WriteHeader(answer.status)
			_, _ = w.Write(text)
			return
		}
		if isJSON(w.Header().Get("Content-Type")) {
			var indented bytes.Buffer
			if json.Indent(&indented, text, "", "  ") == nil {
				text = indented.Bytes()
			}
		}
		s.render(w, web.TextPage{TEE: s.opt.TEE, Service: s.config.Service, Title: title, Path: path[1:], Text: text}.Render)
	}
}

// capture keeps a body, and passes headers on.
type capture struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (c *capture) WriteHeader(status int) { c.status = status }

// Write implements http.ResponseWriter.
func (c *capture) Write(b []byte) (int, error) { return c.body.Write(b) }

func (s *Server) render(w http.ResponseWriter, render func(io.Writer) error) {
	var page bytes.Buffer
	if err := render(&page); err != nil {
		s.opt.Log.Error("page failed", "error", err)
		fail(w, http.StatusInternalServerError, vm.Refuse(vm.CodeInternal, "the page could not be made"))
		return
	}
	write(w, http.StatusOK, typeHTML, page.Bytes())
}
