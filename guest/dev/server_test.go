package dev

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/secretvm/secretvm/vm"
)

// key makes a key, and its public part as hints have it.
func key(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// serve answers on a loopback port with run.
func serve(t *testing.T, public string, run Runner) (address string) {
	t.Helper()
	s, err := NewServer(public, run)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(address, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", address, &ssh.ClientConfig{User: user, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
}

func TestOnlyTheHostsKeyIsServed(t *testing.T) {
	own, public := key(t)
	other, _ := key(t)
	address := serve(t, public, func(context.Context, Command) (int, error) { return 0, nil })
	for name, auth := range map[string][]ssh.AuthMethod{
		"another key": {ssh.PublicKeys(other)}, "a password": {ssh.Password("")}, "nothing": nil,
	} {
		if c, err := dial(address, vm.DevMachine, auth...); err == nil {
			c.Close()
			t.Errorf("%s was let in", name)
		}
	}
	c, err := dial(address, vm.DevMachine, ssh.PublicKeys(own))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("connections are passed on")
	}
	for text, wantErr := range map[string]string{"": "no public key", "ssh-ed25519 AAAA": "no public key", public + public: "more than one line"} {
		if _, err := NewServer(text, nil); err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%.30q: %v, want %q", text, err, wantErr)
		}
	}
}

func TestCommandsOfTheMachine(t *testing.T) {
	own, public := key(t)
	c, err := dial(serve(t, public, Run), vm.DevMachine, ssh.PublicKeys(own))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct {
		words    []string
		terminal bool
		in, out  string
		status   int
	}{
		{[]string{"echo", "two  words", "$HOME"}, false, "", "two  words $HOME\n", 0},
		{[]string{"cat"}, false, "carried", "carried", 0},
		{[]string{"sh", "-c", "echo out; echo err >&2; exit 3"}, false, "", "out\nerr\n", 3},
		{[]string{"sh", "-c", "test -t 0 && stty size"}, true, "", "24 80\r\n", 0},
		{[]string{"/no/such/program"}, false, "", "fork/exec", 255},
	} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		s.Stdin, s.Stdout, s.Stderr = strings.NewReader(tt.in), &out, &errOut
		if tt.terminal {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		line, _ := json.Marshal(tt.words)
		status := 0
		var exit *ssh.ExitError
		if err := s.Run(string(line)); errors.As(err, &exit) {
			status = exit.ExitStatus()
		} else if err != nil {
			t.Errorf("%q: %v", tt.words, err)
		}
		if got := out.String() + errOut.String(); status != tt.status || !strings.HasPrefix(got, tt.out) {
			t.Errorf("%q: status %d, %q", tt.words, status, got)
		}
	}
}

// dockerd answers as the engine does about one container, whose only command
// prints its words and input.
func dockerd(t *testing.T) (socket string) {
	t.Helper()
	var words []string
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /v1.44/containers/json", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Query().Get("filters"), `"com.docker.compose.service=web"`) {
			answer(w, []map[string]string{{"Id": "c1"}})
			return
		}
		answer(w, []string{})
	})
	mux.HandleFunc("POST /v1.44/containers/c1/exec", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Cmd []string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		if words = body.Cmd; words[0] == "refused" {
			w.WriteHeader(http.StatusConflict)
			answer(w, map[string]string{"message": "container is paused"})
			return
		}
		answer(w, map[string]string{"Id": "e1"})
	})
	mux.HandleFunc("POST /v1.44/exec/e1/start", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		in, _ := io.ReadAll(bufio.NewReader(buffer))
		for kind, text := range map[byte]string{1: strings.Join(words, " ") + " " + string(in), 2: "warned"} {
			_, _ = conn.Write(append(binary.BigEndian.AppendUint32([]byte{kind, 0, 0, 0}, uint32(len(text))), text...))
		}
	})
	mux.HandleFunc("GET /v1.44/exec/e1/json", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]int{"ExitCode": 7})
	})
	socket = filepath.Join(t.TempDir(), "s")
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux} //nolint:gosec // a test's
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return socket
}

func TestCommandsOfContainers(t *testing.T) {
	engine := Engine{Socket: dockerd(t)}
	for _, tt := range []struct {
		service      string
		words        []string
		out, wantErr string
		status       int
	}{
		{"web", []string{"env", "-0"}, "env -0 input", "", 7},
		{"web", nil, "/bin/sh input", "", 7},
		{"db", []string{"env"}, "", `no container of service "db" runs`, 0},
		{"web", []string{"refused"}, "", "409 Conflict: container is paused", 0},
	} {
		var out, errOut bytes.Buffer
		status, err := engine.Run(t.Context(), Command{Service: tt.service, Words: tt.words, In: strings.NewReader("input"), Out: &out, Err: &errOut})
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s %q: %v, want %q", tt.service, tt.words, err, tt.wantErr)
			}
			continue
		}
		if err != nil || status != tt.status || out.String() != tt.out || errOut.String() != "warned" {
			t.Errorf("%s %q: status %d, %q, %q, %v", tt.service, tt.words, status, out.String(), errOut.String(), err)
		}
	}
	away := Engine{Socket: engine.Socket + "x"}
	if _, err := away.Run(t.Context(), Command{Service: "web"}); err == nil || !strings.Contains(err.Error(), "no container engine yet") {
		t.Errorf("without dockerd: %v", err)
	}
}

func TestWords(t *testing.T) {
	for line, want := range map[string]string{`["a","b c"]`: "a|b c", "ls  -l /": "ls|-l|/", "": "", `["a",1]`: `["a",1]`} {
		if got := strings.Join(words(line), "|"); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

func FuzzSeparate(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 1, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var out, errOut bytes.Buffer
		if err := separate(bytes.NewReader(b), &out, &errOut); err == nil && out.Len()+errOut.Len() > len(b) {
			t.Error("more came out than went in")
		}
	})
}
