package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 16 << 10

//go:embed page
var files embed.FS

var page = template.Must(template.ParseFS(files, "page/index.html"))

// handler answers with what is in the book.
type handler struct{ book *Book }

func newHandler(book *Book) http.Handler {
	h := &handler{book}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.show)
	mux.HandleFunc("POST /{$}", h.post)
	mux.HandleFunc("GET /api/entries", h.list)
	mux.HandleFunc("POST /api/entries", h.add)
	mux.HandleFunc("GET /healthz", h.health)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page/style.css") })
	// Browsers say where a request comes from (Sec-Fetch-Site, Origin): writing
	// from another site's page is refused. Other clients say nothing and may.
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

// secured allows the page no script, no frame and nothing from elsewhere.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// view is what the page shows.
type view struct {
	Entries       []Entry
	Total         int64
	Name, Message string // what was sent and refused
	Problem       string
}

func (h *handler) show(w http.ResponseWriter, r *http.Request) { h.render(w, r, http.StatusOK, view{}) }

func (h *handler) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	var err error
	if v.Entries, v.Total, err = h.book.List(r.Context()); err != nil {
		slog.Warn("show page", "error", err)
		http.Error(w, "The guest book cannot be read right now. Please try again.", http.StatusServiceUnavailable)
		return
	}
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		slog.Error("show page", "error", err)
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // the reader may have gone away
}

func (h *handler) post(w http.ResponseWriter, r *http.Request) {
	name, message := r.PostFormValue("name"), r.PostFormValue("message")
	e, err := newEntry(name, message, time.Now())
	if err != nil {
		h.render(w, r, http.StatusUnprocessableEntity, view{Name: name, Message: message, Problem: err.Error()})
		return
	}
	if err := h.book.Add(r.Context(), e); err != nil {
		slog.Warn("add entry", "error", err)
		http.Error(w, "The entry could not be stored. Please try again.", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	entries, _, err := h.book.List(r.Context())
	if err != nil {
		slog.Warn("list entries", "error", err)
		answer(w, http.StatusServiceUnavailable, problem{"the database does not answer"})
		return
	}
	answer(w, http.StatusOK, entries)
}

func (h *handler) add(w http.ResponseWriter, r *http.Request) {
	// Only a request that a form cannot make: no page of another origin sends it
	// without asking first.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, problem{"want Content-Type: application/json"})
		return
	}
	var sent struct{ Name, Message string }
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&sent); err != nil {
		answer(w, http.StatusBadRequest, problem{`want {"name": "…", "message": "…"}`})
		return
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		answer(w, http.StatusBadRequest, problem{"want one JSON document"})
		return
	}
	e, err := newEntry(sent.Name, sent.Message, time.Now())
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, problem{err.Error()})
		return
	}
	if err := h.book.Add(r.Context(), e); err != nil {
		slog.Warn("add entry", "error", err)
		answer(w, http.StatusServiceUnavailable, problem{"the entry could not be stored"})
		return
	}
	answer(w, http.StatusCreated, e)
}

func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if err := h.book.Ping(ctx); err != nil {
		slog.Warn("health", "error", err)
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// problem is a refusal in JSON.
type problem struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		slog.Error("answer", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the reader may have gone away
}
