package attestd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/ipc/ipctest"
	"github.com/secretvm/secretvm/guest/process"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// guestd is the other side of the service, as runtime has it.
type guestd struct {
	asked  atomic.Int32 // for the status
	ready  chan struct{}
	mu     sync.Mutex
	status attestation.Status
	notes  []string
}

// startService starts the real process of the service, as another user where the
// test may, and returns its URL. Its program is the test's own.
func startService(t testing.TB, opt Options) (url string, g *guestd) {
	t.Helper()
	user := 0
	if os.Getuid() == 0 {
		user = ipc.UserAttestation
	}
	program, folder := ipctest.Program(t)

	g = &guestd{ready: make(chan struct{}, 9), status: attestation.Status{Workload: "running", Steps: []step.Result{{Name: "measure"}}, Goroutines: 17}}
	s := ipc.NewServer(nil)
	ipc.Handle(s, attestation.AskQuote, opt.Quotes.Quote)
	ipc.Handle(s, attestation.AskStatus, func(context.Context, struct{}) (attestation.Status, error) {
		g.asked.Add(1)
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.status, nil
	})
	ipc.Handle(s, attestation.AskServices, func(context.Context, struct{}) ([]string, error) { return []string{"guestbook web-1"}, nil })
	ipc.Handle(s, attestation.AskLogs, func(_ context.Context, q attestation.LogQuery) (attestation.Log, error) {
		at := time.Unix(1800000000, 0)
		if q.Since.IsZero() {
			return attestation.Log{More: true, Lines: []attestation.Line{{Time: at, Source: "web-1", Text: []byte("one \xff")}}}, nil
		}
		return attestation.Log{Lines: []attestation.Line{{Time: q.Since.Add(time.Second), Source: "web-1", Text: []byte("two")}}}, nil
	})
	ipc.Handle(s, attestation.AskReady, func(context.Context, struct{}) (struct{}, error) { g.ready <- struct{}{}; return struct{}{}, nil })
	socket := filepath.Join(folder, "desk", "socket")
	l, err := ipc.Listen(t.Context(), socket, user)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context(), l) }()

	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := port.(*net.TCPListener).File()
	port.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	secret, err := opt.Key.Secret()
	if err != nil {
		t.Fatal(err)
	}
	stop, err := ipc.Service{
		Program: program, Part: attestation.Part, User: user, Files: []*os.File{file}, Spared: true,
		Settings: attestation.Settings{
			Socket: socket, Key: secret, TEE: opt.TEE, Measurement: opt.Measurement, Config: opt.Config, Compose: opt.Compose, Events: opt.Events,
			Booted: monotonic() - time.Hour,
		},
	}.Keep(t.Context(), new(process.Table), func(text string) { g.mu.Lock(); g.notes = append(g.notes, text); g.mu.Unlock() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop(context.Background()) })
	return "https://" + port.Addr().String(), g
}

// TestServiceIsAProcess: what strangers are told by the process without rights is
// what guestd says.
func TestServiceIsAProcess(t *testing.T) {
	opt := testOptions(t, "compose", "logs", "metrics", "resources", "services")
	url, g := startService(t, opt)
	client := crowdClient()
	defer client.CloseIdleConnections()
	nonce := strings.Repeat("5a", 32)
	for _, c := range []struct{ path, want string }{
		{"/healthz", "ok\n"}, // waits for the process
		{"/config", string(opt.Config)},
		{"/docker-compose", composeFile},
		{"/status", `"workload":"running"`},
		{"/status", `"uptime_ms":360`},
		{"/services", `["secretvm","guestbook web-1"]`},
		{"/logs", "Jan 15 08:00:00 guestbook web-1: one \xff\nJan 15 08:00:01 guestbook web-1: two\n"},
		{"/logs?lines=1", "Jan 15 08:00:00 guestbook web-1: one \xff\n"},
		{"/metrics", "secretvm_goroutines 17\n"},
		{"/resources", `"memory_total_gb":`},
		{"/attestation?nonce=" + nonce, `"tls_key":"` + opt.Key.SPKI.String()},
		{"/nothing", "there is no such page"},
	} {
		if resp, body := get(t, client, url+c.path); !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %q, want %q", c.path, resp.StatusCode, body, c.want)
		}
	}
	<-g.ready
	before := g.asked.Load()
	for range 50 {
		get(t, client, url+"/status")
	}
	if n := g.asked.Load() - before; n > 10 {
		t.Errorf("50 questions for the status make %d of guestd", n)
	}
}

// TestA2_RestartKeepsTheKeyOfTheBoot: a service that ended is started again with
// the key that quotes have named, on the socket that never closed.
func TestA2_RestartKeepsTheKeyOfTheBoot(t *testing.T) {
	opt := testOptions(t)
	url, g := startService(t, opt)
	for life := range 3 {
		client := crowdClient() // connects while nobody accepts, too
		resp, _ := get(t, client, url+"/healthz")
		if got := vm.HashOf(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo); got != opt.Key.SPKI {
			t.Errorf("life %d: key %s, want %s", life, got, opt.Key.SPKI)
		}
		client.CloseIdleConnections()
		<-g.ready
		if err := unix.Kill(child(t), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	get(t, crowdClient(), url+"/healthz")
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.notes) != 3 || !strings.Contains(g.notes[0], "attestation ended, starting it again") {
		t.Errorf("notes are %q", g.notes)
	}
}

// child is the process that this one has started.
func child(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		pid, notOne := strconv.Atoi(e.Name())
		if err != nil || notOne != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[0] != "Z" && fields[1] == strconv.Itoa(os.Getpid()) {
			return pid
		}
	}
	t.Fatal("the service does not run")
	return 0
}

// TestPublicCertificateIsLearnt: a certificate that guestd was given is shown at
// the next connection that asks for one of its names.
func TestPublicCertificateIsLearnt(t *testing.T) {
	cfg, err := vm.ParseConfig(testOptions(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ACME = &vm.ACME{Names: []string{"app.example.org"}, CA: "https://ca.example/directory", Challenge: vm.ChallengeHTTP}
	cfg.TLS = "acme"
	opt := measuredOptions(t, cfg)
	var now atomic.Pointer[Status]
	now.Store(&Status{})
	opt.Status = func() Status { return *now.Load() }
	_, url, client := serve(t, opt)
	issuer := func() string {
		t.Helper()
		client.CloseIdleConnections()
		client.Transport.(*http.Transport).TLSClientConfig.ServerName = "App.example.org"
		resp, _ := get(t, client, url+"/healthz")
		return resp.TLS.PeerCertificates[0].Issuer.CommonName
	}
	if got := issuer(); strings.Contains(got, "authority") && !strings.HasPrefix(got, "secretvm") {
		t.Errorf("before: %s", got)
	}
	chain := newAuthority(t).sign(t, &opt.Key.Private.PublicKey, time.Hour, "app.example.org")
	now.Store(&Status{Chain: chain})
	if got := issuer(); got != "authority" {
		t.Errorf("with a certificate: %s", got)
	}
	now.Store(&Status{Chain: [][]byte{{1}}}) // whatever guestd says, nothing else is shown
	if got := issuer(); got != "authority" {
		t.Errorf("with garbage: %s", got)
	}
}

// TestLogIsFollowed: the last lines first, then those that are written.
func TestLogIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ask := func(_ context.Context, q attestation.LogQuery) (attestation.Log, error) {
			if q.Since.IsZero() {
				return attestation.Log{Lines: []attestation.Line{{Time: start, Source: "secretvm[1]", Text: []byte("three")}}}, nil
			}
			if time.Since(start) > 3*time.Second && !q.Since.After(start) {
				return attestation.Log{Lines: []attestation.Line{{Time: time.Now(), Source: "secretvm[1]", Text: []byte("four")}}}, nil
			}
			return attestation.Log{}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var got []string
		err := read(ctx, ask, "guestbook", LogQuery{LogQuery: attestation.LogQuery{Lines: 1}, Follow: true}, func(line string) error {
			got = append(got, line[strings.LastIndex(line, ": ")+2:])
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || strings.Join(got, " ") != "three four" {
			t.Errorf("followed: %q, %v", got, err)
		}
		gone := errors.New("the client has gone")
		if err := read(t.Context(), ask, "guestbook", LogQuery{Follow: true}, func(string) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("a client that goes: %v", err)
		}
	})
}

// renewed is a TEE whose collateral changes after some quotes.
type renewed struct{ quotes atomic.Int32 }

func (r *renewed) Quote(_ context.Context, rd [64]byte) (vm.Evidence, error) {
	n := r.quotes.Add(1) - 1
	return vm.Evidence{TEE: vm.TDX, Quote: rd[:], Collateral: &vm.Collateral{TCBInfo: []byte{byte(n / 5)}}}, nil
}

// TestCollateralIsKept: it crosses between the processes when it has changed, and
// comes with each quote.
func TestCollateralIsKept(t *testing.T) {
	opt := quoting(testOptions(t), &renewed{})
	folder := t.TempDir()
	crossed := 0
	s := ipc.NewServer(nil)
	ipc.Handle(s, attestation.AskQuote, func(ctx context.Context, q attestation.Question) (attestation.Answer, error) {
		a, err := opt.Quotes.Quote(ctx, q)
		if a.Evidence.Collateral != nil {
			crossed++
		}
		return a, err
	})
	l, err := ipc.Listen(t.Context(), filepath.Join(folder, "s"), os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context(), l) }()
	m := &machine{guestd: ipc.Dial(filepath.Join(folder, "s"), nil)}
	for i := range 15 {
		a, err := m.Quote(t.Context(), attestation.Question{For: attestation.ForKey})
		if err != nil || a.Evidence.Collateral == nil || a.Evidence.Collateral.TCBInfo[0] != byte(i/5) {
			t.Errorf("quote %d: %+v, %v", i, a.Evidence.Collateral, err)
		}
	}
	if crossed != 3 {
		t.Errorf("it crossed %d times, want 3", crossed)
	}
}
