package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

type question struct {
	Text string
	Data []byte
}

var errBusy = errors.New("busy")

// serve answers on a socket of its own until the test ends.
func serve(t *testing.T, known Errors, add func(*Server)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(t.Context(), path, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(known)
	add(s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	c := Dial(path, known)
	t.Cleanup(c.Close)
	return c
}

func TestAsk(t *testing.T) {
	known := Errors{"busy": errBusy}
	c := serve(t, known, func(s *Server) {
		Handle(s, "echo", func(_ context.Context, q question) (question, error) { return q, nil })
		Handle(s, "refuse", func(context.Context, question) (question, error) {
			return question{}, errors.Join(errors.New("looked at it"), vm.Refuse(vm.CodeImage, "no such image").On("image", "a", "b"))
		})
		Handle(s, "busy", func(context.Context, question) (question, error) {
			return question{}, errors.Join(errors.New("later"), errBusy)
		})
		Handle(s, "much", func(context.Context, question) (question, error) {
			return question{Data: make([]byte, MaxMessage)}, nil
		})
	})
	ctx := t.Context()
	got, err := Ask[question, question](ctx, c, "echo", question{Text: "näher", Data: []byte{0, 1, 0xff}})
	if err != nil || got.Text != "näher" || string(got.Data) != "\x00\x01\xff" {
		t.Errorf("echo: %+v, %v", got, err)
	}
	for _, tc := range []struct {
		name, wantErr string
		ask           question
		answered      bool
	}{
		{"refuse", "no such image", question{}, true},
		{"busy", "later", question{}, true},
		{"much", "more than 4194304", question{}, true},
		{"echo", "request body too large", question{Data: make([]byte, MaxMessage)}, true},
		{"nothing", "404 Not Found", question{}, false},
	} {
		_, err := Ask[question, question](ctx, c, tc.name, tc.ask)
		var answered *Answered
		if err == nil || !strings.Contains(err.Error(), tc.wantErr) || errors.As(err, &answered) != tc.answered {
			t.Errorf("%s: error %v, want %q, answered %t", tc.name, err, tc.wantErr, tc.answered)
		}
		if tc.name == "busy" && !errors.Is(err, errBusy) {
			t.Errorf("%v is not the named error", err)
		}
		var r *vm.Refusal
		if tc.name == "refuse" && (!errors.As(err, &r) || r.Code != vm.CodeImage || r.Wanted != "b") {
			t.Errorf("%v lost its refusal: %+v", err, r)
		}
	}
}

// TestQuestionEndsWithWhoAsks: nobody works on for one who went away.
func TestQuestionEndsWithWhoAsks(t *testing.T) {
	ended := make(chan struct{})
	c := serve(t, nil, func(s *Server) {
		Handle(s, "wait", func(ctx context.Context, _ question) (question, error) {
			<-ctx.Done()
			close(ended)
			return question{}, ctx.Err()
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Ask[question, question](ctx, c, "wait", question{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked until the deadline: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the answer is still looked for")
	}
}

// TestHostileAnswer: what a taken-over process answers neither fills memory nor
// passes for an answer.
func TestHostileAnswer(t *testing.T) {
	for name, tc := range map[string]struct{ answer, wantErr string }{
		"no JSON":  {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]", "invalid character"},
		"no error": {"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 1\r\n\r\n[", "unexpected end"},
		"no HTTP":  {"hello\r\n\r\n", "malformed HTTP"},
		"too much": {"HTTP/1.1 200 OK\r\n\r\n\"" + strings.Repeat("a", MaxMessage), "more than 4194304 bytes"},
		"cut":      {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "socket")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, tc.answer)
			}()
			if _, err := Ask[question, question](t.Context(), Dial(path, nil), "echo", question{}); err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error %v, want %q", err, tc.wantErr)
			}
		})
	}
}

// TestSocketIsForOneUser: others may not even knock.
func TestSocketIsForOneUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	for range 2 { // the second takes the place of the first, whose process has ended
		l, err := Listen(t.Context(), path, os.Getuid())
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		defer l.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	if _, err := Listen(t.Context(), filepath.Join(path, "below"), os.Getuid()); err == nil {
		t.Error("listens below a file")
	}
}

// TestOnlyPost: a browser that was led to the socket cannot ask.
func TestOnlyPost(t *testing.T) {
	c := serve(t, nil, func(s *Server) {
		Handle(s, "echo", func(_ context.Context, q question) (question, error) { return q, nil })
	})
	r, err := c.http.Get("http://secretvm/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Error(r.Status)
	}
}

func FuzzDecodeFailure(f *testing.F) {
	f.Add("text", "busy", "image-not-allowed")
	f.Fuzz(func(t *testing.T, text, name, code string) {
		known := Errors{"busy": errBusy}
		err := known.decode(failure{Text: text, Name: name, Refusal: &vm.Refusal{Code: vm.Code(code), Reason: text}})
		var r *vm.Refusal
		if err.Error() != text || errors.Is(err, errBusy) != (name == "busy") || !errors.As(err, &r) || string(r.Code) != code {
			t.Errorf("%v", err)
		}
	})
}

// FuzzQuestion: whatever a process is asked, it answers, and takes nothing for a
// question that is none.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"Text":"a","Data":"AA=="}`))
	f.Add([]byte(`{"Text":{}}`))
	f.Add([]byte("[}"))
	s := NewServer(nil)
	Handle(s, "echo", func(_ context.Context, q question) (question, error) { return q, nil })
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		s.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/echo", bytes.NewReader(body)))
		var q question
		valid := json.Unmarshal(body, &q) == nil
		if (w.Code == http.StatusOK) != valid || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
