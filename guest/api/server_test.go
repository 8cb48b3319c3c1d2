package api_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// start boots a soft machine that grants what the test says, and returns the
// sockets of its services.
func start(t *testing.T, grants vm.API) (*machinetest.Machine, map[string]string) {
	t.Helper()
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Config.API = grants })
	return m, serve(t, m, m)
}

func serve(t *testing.T, m *machinetest.Machine, q pace.Quoter) map[string]string {
	t.Helper()
	_, sockets := listen(t, api.Options{Machine: proof.New(q, m.Config), TEE: vm.Soft, Config: m.Config, Events: m.Events})
	return sockets
}

func listen(t *testing.T, opt api.Options) (*proof.Desk, map[string]string) {
	t.Helper()
	s, err := api.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "api") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sockets, services, files, err := proof.Listen(t.Context(), filepath.Join(dir, "s"), opt.Config.API)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		go s.Serve(t.Context(), services[i], l)
	}
	desk := opt.Machine.(*proof.Desk)
	if err := desk.Show(s.Public()); err != nil {
		t.Fatal(err)
	}
	return desk, sockets
}

func TestInfo(t *testing.T) {
	m, sockets := start(t, vm.API{"web": {vm.GrantInfo}})
	info, err := guestapi.New(sockets["web"]).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := info.Config.Canonical()
	if err != nil || string(canonical) != string(m.Canonical) || info.ConfigHash != vm.HashOf(m.Canonical) {
		t.Errorf("config is %s (%v), want what was measured", canonical, err)
	}
	if info.Service != "web" || info.TEE != vm.Soft || info.Image != m.Root || !slices.Equal(info.Grants, []string{"info"}) {
		t.Errorf("info is %+v", info)
	}
	if rtmr, err := vm.Replay(info.Events); err != nil || rtmr[vm.RuntimeRegister] != m.TEE.Read().RTMR[vm.RuntimeRegister] {
		t.Errorf("the events do not explain RTMR3: %v", err)
	}
}

// TestQuote: the evidence is about what was asked, in the domain of workloads,
// and comes with all that a verifier needs.
func TestQuote(t *testing.T) {
	m, sockets := start(t, vm.API{"web": {vm.GrantQuote}})
	admission := vm.Admission{ChainID: "secretvm-test", InstanceID: m.Config.InstanceID}.Data()
	for name, data := range map[string][]byte{"nothing": nil, "short": []byte("hello"), "longest": admission[:]} {
		evidence, err := guestapi.New(sockets["web"]).Quote(t.Context(), data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		verdict, err := attest.Verify(evidence, attest.Options{Roots: m.Roots(), Time: time.Now()})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := vm.WorkloadReportData(data); string(verdict.ReportData) != string(want[:]) || len(verdict.Events) != len(m.Events) {
			t.Errorf("%s: quoted %x, want %x", name, verdict.ReportData, want)
		}
	}
}

// TestW2_ContainersAskWhatTheyAreGranted: who is granted nothing has no socket;
// who is granted one thing gets no other, whatever it calls itself.
func TestW2_ContainersAskWhatTheyAreGranted(t *testing.T) {
	_, sockets := start(t, vm.API{"node": {vm.GrantQuote}, "web": {vm.GrantInfo}})
	if len(sockets) != 2 || sockets["db"] != "" {
		t.Fatalf("sockets are %v", sockets)
	}
	entries, err := os.ReadDir(filepath.Dir(sockets["web"]))
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v (%v), want the sockets alone", entries, err)
	}
	web, node := guestapi.New(sockets["web"]), guestapi.New(sockets["node"])
	_, err = web.Quote(t.Context(), []byte("x"))
	if vm.CodeOf(err) != vm.CodePermission || !strings.Contains(err.Error(), "service web is not granted quote") {
		t.Errorf("web quotes: %v", err)
	}
	if _, err = node.Info(t.Context()); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("node reads: %v", err)
	}
	for _, path := range []string{"/quote?data=00&service=node", "/quote/?data=00", "//quote?data=00", "/node/quote?data=00", "/info/../quote?data=00"} {
		if status, _ := get(t, sockets["web"], http.MethodGet, path); status == http.StatusOK {
			t.Errorf("web gets %s", path)
		}
	}
}

func TestRefusals(t *testing.T) {
	_, sockets := start(t, vm.API{"web": {vm.GrantInfo, vm.GrantQuote}})
	for _, tt := range []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"no data", "GET", "/quote", 400, `"found":"0 values"`},
		{"data twice", "GET", "/quote?data=00&data=11", 400, `"found":"2 values"`},
		{"too long", "GET", "/quote?data=" + strings.Repeat("00", 65), 400, "at most 64 bytes"},
		{"odd", "GET", "/quote?data=0", 400, "not hex"},
		{"no hex", "GET", "/quote?data=xy", 400, "not hex"},
		{"method", "POST", "/info", 405, ""},
		{"path", "GET", "/keys", 404, ""},
		{"huge header", "GET", "/info?" + strings.Repeat("a", 32<<10), 431, ""},
	} {
		status, body := get(t, sockets["web"], tt.method, tt.path)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %.200s, want %d with %q", tt.name, status, body, tt.status, tt.want)
		}
	}
}

// slow is a TEE that takes until it is told to go on.
type slow struct {
	*machinetest.Machine
	asked chan struct{}
	again chan struct{}
}

func (s slow) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	s.asked <- struct{}{}
	select {
	case <-s.again:
	case <-ctx.Done():
	}
	return s.Machine.Quote(ctx, rd)
}

// TestA6_ContainersAreBounded: a container that floods fills its own places and
// nobody else's.
func TestA6_ContainersAreBounded(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Config.API = vm.API{"flood": {vm.GrantQuote}, "web": {vm.GrantInfo, vm.GrantQuote}}
	})
	q := slow{m, make(chan struct{}, 64), make(chan struct{})}
	sockets := serve(t, m, q)
	const n = 40
	statuses := make(chan int, n)
	for range n {
		go func() {
			status, _ := get(t, sockets["flood"], http.MethodGet, "/quote?data=00")
			statuses <- status
		}()
	}
	for range n - 8 { // all but those that have a place
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("one of too many gets %d", status)
		}
	}
	if _, err := guestapi.New(sockets["web"]).Info(t.Context()); err != nil {
		t.Errorf("the others are not answered: %v", err)
	}
	if len(q.asked) != 1 {
		t.Errorf("%d quotes are made at once", len(q.asked))
	}
	close(q.again)
	for range 8 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("one that waited gets %d", status)
		}
	}
}

// get asks without the client, which would not send such requests.
func get(t *testing.T, socket, method, path string) (int, string) {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	req := httptest.NewRequest(method, "http://secretvm"+path, nil)
	req.RequestURI = ""
	resp, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b := make([]byte, 4096)
	k, _ := resp.Body.Read(b)
	return resp.StatusCode, string(b[:k])
}
