package endorsementtest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Fault is how requests go wrong whose path contains Path.
type Fault struct {
	Path       string
	Times      int           // how often; 0 means always
	Status     int           // answer with this status
	RetryAfter string        // with this header
	Delay      time.Duration // wait before answering
	Cut        bool          // end the connection in the middle of the body
	Page       bool          // answer with a web page
	Huge       int64         // answer with so many bytes
	Head       int           // with a header of so many bytes
	Loop       bool          // redirect to itself, for ever
	To         string        // redirect to here
	Body       []byte        // answer with this instead
	Drop       string        // leave out this header
}

// spoil makes an answer go wrong, and reports whether it is still to be given.
func (f *Fault) spoil(w http.ResponseWriter, r *http.Request, a *answer) bool {
	if f.Delay > 0 {
		select {
		case <-r.Context().Done():
			return false
		case <-time.After(f.Delay):
		}
	}
	switch {
	case f.Loop:
		http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
	case f.To != "":
		http.Redirect(w, r, f.To, http.StatusFound)
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
	case f.Cut:
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)+1))
		write(w, a.body[:len(a.body)/2])
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		panic(http.ErrAbortHandler)
	case f.Page:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		write(w, []byte("<html><body>Please log in</body></html>"))
	case f.Huge > 0:
		if _, err := io.CopyN(w, endless{}, f.Huge); err != nil {
			panic(http.ErrAbortHandler)
		}
	default:
		if f.Head > 0 {
			w.Header().Set("X-Padding", strings.Repeat("x", f.Head))
		}
		if f.Body != nil {
			a.body = f.Body
		}
		if f.Drop != "" {
			delete(a.header, f.Drop)
		}
		return true
	}
	return false
}

// endless reads as spaces, for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
