package page

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/vm"
)

// Path is below which all pages are.
const Path = "/service/"

// Pages serves the pages of one node.
type Pages struct {
	app *chain.App
	log *slog.Logger
}

// New makes the pages of a chain's application. Errors that are the node's own
// are logged, and readers learn only that there was one.
func New(app *chain.App, log *slog.Logger) *Pages { return &Pages{app, log} }

// Handler serves everything below Path:
//
//	/service/                        services, by id
//	/service/<owner>/                those of one owner
//	/service/<owner>/<name>          one service
//	/service/<owner>/<name>/<list>   images, grants, refusals, changes or machines
//
// Lists take ?from=, which their links give.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	index := func(v *view, r *http.Request, from []byte) ([]byte, error) {
		i, err := v.index(r.PathValue("owner"), from)
		if err != nil {
			return nil, err
		}
		return render("index.html", i)
	}
	mux.HandleFunc("GET "+Path+"{$}", p.serve("../", index))
	mux.HandleFunc("GET "+Path+"{owner}/{$}", p.serve("../../", index))
	mux.HandleFunc("GET "+Path+"{owner}/{name}", p.serve("../../", func(v *view, r *http.Request, _ []byte) ([]byte, error) {
		s, err := v.service(r.PathValue("owner") + "/" + r.PathValue("name"))
		if err != nil {
			return nil, err
		}
		return render("service.html", s)
	}))
	mux.HandleFunc("GET "+Path+"{owner}/{name}/{list}", p.serve("../../../", func(v *view, r *http.Request, from []byte) ([]byte, error) {
		kind := r.PathValue("list")
		if kinds[kind] == "" {
			return nil, nowhere
		}
		l, err := v.list(r.PathValue("owner")+"/"+r.PathValue("name"), r.PathValue("name"), kind, from)
		if err != nil {
			return nil, err
		}
		return render("list.html", l)
	}))
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, r *http.Request) {
		p.serve(strings.Repeat("../", strings.Count(r.URL.Path, "/")-1), func(*view, *http.Request, []byte) ([]byte, error) { return nil, nowhere })(w, r)
	})
	return mux
}

var nowhere = vm.Refuse(vm.CodeInvalid, "There is no such page.")

// serve makes a page of the newest state.
func (p *Pages) serve(root string, f func(v *view, r *http.Request, from []byte) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := p.read(root)
		var body, from []byte
		if err == nil {
			from, err = begin(r.URL.Query().Get("from"))
		}
		if err == nil {
			body, err = f(v, r, from)
		}
		if err == nil {
			write(w, http.StatusOK, body)
			return
		}
		shown := refusedView{chainView: chainView{Root: root}, Title: "This page could not be made", Reason: "The node's log says why."}
		if v != nil {
			shown.chainView = v.chain
		}
		status := http.StatusInternalServerError
		var refusal *vm.Refusal
		if errors.As(err, &refusal) {
			shown.Reason = refusal.Reason
			status, shown.Title = statusOf(refusal.Code)
		}
		if status == http.StatusInternalServerError {
			p.log.Error("page failed", "path", r.URL.Path, "err", err)
		}
		if body, err = render("refused.html", shown); err != nil {
			p.log.Error("page failed", "path", r.URL.Path, "err", err)
		}
		write(w, status, body)
	}
}

// statusOf is the HTTP status and the title of a page that was refused.
func statusOf(code vm.Code) (status int, title string) {
	switch code {
	case vm.CodeNoService:
		return http.StatusNotFound, "No such service"
	case vm.CodeInvalid:
		return http.StatusNotFound, "Not found"
	case vm.CodeMalformed:
		return http.StatusBadRequest, "Not a place in this list"
	case vm.CodeUnavailable:
		return http.StatusServiceUnavailable, "Not yet"
	}
	return http.StatusInternalServerError, "This page could not be made"
}

func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Security-Policy", ContentSecurityPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the reader has gone: nobody to tell
}
