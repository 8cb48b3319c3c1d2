package certificate

import (
	"context"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/certificate/certificatetest"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// guestd takes what the service tells.
func guestd(t *testing.T) (socket string, reports chan attestation.Report, notes chan string) {
	t.Helper()
	reports, notes = make(chan attestation.Report, 99), make(chan string, 99)
	s := ipc.NewServer(nil)
	ipc.Handle(s, attestation.AskShow, func(_ context.Context, r attestation.Report) (struct{}, error) { reports <- r; return struct{}{}, nil })
	ipc.Handle(s, attestation.AskNote, func(_ context.Context, text string) (struct{}, error) { notes <- text; return struct{}{}, nil })
	socket = filepath.Join(t.TempDir(), "socket")
	l, err := ipc.Listen(t.Context(), socket, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context(), l) }()
	return socket, reports, notes
}

// TestServiceTellsGuestd: first that containers find a certificate, whoever signed
// it; then the authority's, for them and for the attestation service's key, which
// is not there.
func TestServiceTellsGuestd(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	socket, reports, notes := guestd(t)
	key, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := key.Request(names)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ca.HTTPPort)))
	if err != nil {
		t.Fatal(err)
	}
	port, err := l.(*net.TCPListener).File()
	l.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	shared := t.TempDir()
	settings := attestation.CertificatesSettings{
		Socket: socket, Request: request, Disk: t.TempDir(),
		Config: vm.ACME{Names: names, CA: ca.URL, Roots: ca.Roots, Challenge: vm.ChallengeHTTP, Services: []string{"web"}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- keep(ctx, settings, shared, ipc.Dial(socket, nil), port) }()
	first := <-reports
	if c := first.Certificates.Certificates; first.Error != "" || len(c) != 2 || c[0].Public || c[1].Public || first.Chain != nil {
		t.Errorf("the first report is %+v", first)
	}
	if _, err := os.Stat(filepath.Join(shared, CertFile)); err != nil {
		t.Error(err)
	}
	for {
		select {
		case r := <-reports:
			if c := r.Certificates.Certificates; !c[0].Public || !c[1].Public {
				continue
			}
			if err := trusted(t, ca, r.Chain); err != nil || r.Certificates.Certificates[1].Key != key.SPKI || r.Certificates.Account == "" {
				t.Errorf("the last report is %+v, %v", r, err)
			}
		case <-ctx.Done():
			t.Fatal("no certificates in time")
		}
		break
	}
	for _, want := range []string{"new account", "certificate of workload by Pebble", "certificate of attestation by Pebble"} {
		if note := <-notes; !strings.Contains(note, want) {
			t.Errorf("it notes %q, want %q", note, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// TestServiceTellsWhatIsWrong: a boot learns that there will be no certificates.
func TestServiceTellsWhatIsWrong(t *testing.T) {
	socket, reports, _ := guestd(t)
	key, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := key.Request(names)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := attestation.CertificatesSettings{Socket: socket, Request: request, Disk: file, Config: vm.ACME{Names: names}}
	if err := keep(t.Context(), settings, t.TempDir(), ipc.Dial(socket, nil), nil); err == nil {
		t.Error("it goes on")
	}
	if r := <-reports; !strings.Contains(r.Error, "prepare certificates") {
		t.Errorf("it reports %+v", r)
	}
	settings.Request = request[1:]
	if err := keep(t.Context(), settings, t.TempDir(), nil, nil); err == nil {
		t.Error("it takes any request")
	}
}

// TestA7_OtherKeysAreNotHandedOn: a chain for a key that is not that of the
// attestation service's request never reaches guestd.
func TestA7_OtherKeysAreNotHandedOn(t *testing.T) {
	ours, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := ours.Request(names)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHeld(request)
	if err != nil {
		t.Fatal(err)
	}
	w := workload{file: filepath.Join(t.TempDir(), "w"), shared: t.TempDir()}
	if err := w.open(&entry{}, names); err != nil {
		t.Fatal(err)
	}
	pair, err := os.ReadFile(filepath.Join(w.shared, CertFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Install([][]byte{derOf(t, pair)}); err == nil || h.shown() != nil {
		t.Errorf("the workload's is shown: %v", err)
	}
	if _, err := h.Request([]string{"other.example.org"}); err == nil {
		t.Error("it has a request for other names")
	}
}

func derOf(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no certificate in %q", text)
	}
	return block.Bytes
}
