package soft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// host is the other end: registers in memory behind Serve. Each dial begins a
// new connection to the same registers, as reopening the port does.
type host struct {
	mu       sync.Mutex
	state    vm.Measurement
	quote    []byte
	evidence vm.Collateral
	bootLog  []byte
	logs     atomic.Int32 // how often it was asked for
	dials    atomic.Int32
}

func (h *host) dial(context.Context) (Conn, error) {
	h.dials.Add(1)
	guest, server := net.Pipe()
	go func() {
		defer server.Close()
		_ = Serve(server, h.answer)
	}()
	return guest, nil
}

func (h *host) answer(r Request) Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Op {
	case OpExtend:
		h.state.RTMR[3] = h.state.RTMR[3].Extend(*r.Digest)
	case OpQuote:
		return Answer{Quote: append(bytes.Clone(r.ReportData), h.quote...), Collateral: &h.evidence}
	case OpLog:
		h.logs.Add(1)
		return Answer{BootLog: h.bootLog}
	}
	m := h.state
	return Answer{Measurement: &m}
}

func TestDeviceExtendsAndReads(t *testing.T) {
	h := &host{}
	d := NewDevice(h.dial)
	events := []vm.Event{vm.RuntimeEvent("one", []byte("1")), vm.RuntimeEvent("two", nil)}
	for _, e := range events {
		if err := d.Extend(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := vm.Replay(events); got.RTMR != want {
		t.Errorf("registers are %v, want %v", got.RTMR, want)
	}
}

func TestDeviceRefusesForgedEvent(t *testing.T) {
	h := &host{}
	d := NewDevice(h.dial)
	e := vm.RuntimeEvent("one", nil)
	e.Digest[0] ^= 1
	checkErr(t, d.Extend(t.Context(), e), "does not follow")
	if h.dials.Load() != 0 {
		t.Error("a forged event reached the host")
	}
}

// TestDeviceBigAnswer moves an answer of several hundred KiB, far more than a
// pipe, a socket buffer or one virtio buffer holds.
func TestDeviceBigAnswer(t *testing.T) {
	h := &host{quote: make([]byte, vm.MaxQuoteSize-64), evidence: vm.Collateral{TCBInfo: bytes.Repeat([]byte("x"), vm.MaxCollateralSize)}}
	d := NewDevice(h.dial)
	ev, err := d.Quote(t.Context(), [64]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if ev.TEE != vm.Soft || ev.Events != nil || len(ev.Quote) != vm.MaxQuoteSize || ev.Quote[2] != 3 || len(ev.Collateral.TCBInfo) != vm.MaxCollateralSize {
		t.Errorf("evidence came out damaged: quote of %d bytes", len(ev.Quote))
	}
}

func TestDeviceManyCallers(t *testing.T) {
	h := &host{}
	d := NewDevice(h.dial)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			data := [64]byte{byte(i)}
			ev, err := d.Quote(t.Context(), data)
			if err != nil || !bytes.Equal(ev.Quote, data[:]) {
				t.Errorf("caller %d got the quote of another: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := h.dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestDeviceTimesOutAndRecovers(t *testing.T) {
	h := &host{}
	var silent atomic.Bool
	silent.Store(true)
	d := NewDevice(func(ctx context.Context) (Conn, error) {
		if silent.Load() {
			guest, _ := net.Pipe() // nobody reads the other end
			return guest, nil
		}
		return h.dial(ctx)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("silent host gives %v, want the deadline", err)
	}
	silent.Store(false)
	if _, err := d.Read(t.Context()); err != nil {
		t.Fatalf("after a time-out: %v", err)
	}
}

// scripted answers each request with the given raw answers, in which the id 7
// stands for the id of the request.
func scripted(t *testing.T, answers ...Answer) *Device {
	t.Helper()
	return NewDevice(func(context.Context) (Conn, error) {
		guest, server := net.Pipe()
		go func() {
			defer server.Close()
			payload, err := ReadFrame(server)
			if err != nil {
				return
			}
			request, err := ParseRequest(payload)
			if err != nil {
				return
			}
			for _, a := range answers {
				if a.ID == 7 {
					a.ID = request.ID
				}
				if WriteFrame(server, a) != nil {
					return
				}
			}
		}()
		return guest, nil
	})
}

func TestDeviceAnswers(t *testing.T) {
	data := [64]byte{9}
	stale := Answer{ID: 1, Quote: []byte("stale")}
	var flood []Answer
	for range maxStale + 1 {
		flood = append(flood, stale)
	}
	tests := []struct {
		name    string
		answers []Answer
		wantErr string
	}{
		{"plain", []Answer{{ID: 7, Quote: []byte("fresh")}}, ""},
		{"late answer to another request is passed over", []Answer{stale, {ID: 2, Error: "late"}, {ID: 7, Quote: []byte("fresh")}}, ""},
		{"only late answers", flood, "answers to other requests"},
		{"refusal", []Answer{{ID: 7, Error: "register is\nclosed"}}, `host answered: "register is\nclosed"`},
		{"request that the host could not read", []Answer{{Error: "what?"}}, "what?"},
		{"no quote in the answer", []Answer{{ID: 7}}, "quote of 0 bytes"},
		{"host hangs up", nil, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := scripted(t, tt.answers...)
			ev, err := d.Quote(t.Context(), data)
			checkErr(t, err, tt.wantErr)
			if tt.wantErr == "" && string(ev.Quote) != "fresh" {
				t.Errorf("quote is %q, want the fresh one", ev.Quote)
			}
		})
	}
}

func TestServeAnswersWhatItCannotRead(t *testing.T) {
	guest, server := net.Pipe()
	go func() { _ = Serve(server, func(Request) Answer { return Answer{} }) }()
	defer guest.Close()
	if err := WriteFrame(guest, map[string]any{"id": 5, "op": "reset"}); err != nil {
		t.Fatal(err)
	}
	payload, err := ReadFrame(guest)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseAnswer(OpRead, payload)
	if err != nil || a.ID != 5 || a.Error == "" {
		t.Errorf("answer is %+v, %v", a, err)
	}
}

func TestFindPort(t *testing.T) {
	sysfs := t.TempDir()
	for port, name := range map[string]string{"vport0p1": "org.example", "vport1p2": "tee.0\n"} {
		dir := filepath.Join(sysfs, port)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := findPort(sysfs, "/dev")
	if err != nil || got != "/dev/vport1p2" {
		t.Errorf("port is %q, %v", got, err)
	}
	if _, err := findPort(t.TempDir(), "/dev"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the port: %v, want os.ErrNotExist", err)
	}
}

// TestDeviceBootLog: the log comes with every quote and is asked for once; a
// host without one, or one that does not know the question, is as good.
func TestDeviceBootLog(t *testing.T) {
	for _, log := range [][]byte{[]byte("events"), nil} {
		h := &host{bootLog: log}
		d := NewDevice(h.dial)
		for range 3 {
			ev, err := d.Quote(t.Context(), [64]byte{})
			if err != nil || !bytes.Equal(ev.BootLog, log) {
				t.Errorf("quote comes with the log %q, want %q (%v)", ev.BootLog, log, err)
			}
		}
		if n := h.logs.Load(); n != 1 {
			t.Errorf("the log was asked for %d times, want once", n)
		}
	}
	d := scripted(t, Answer{ID: 7, Quote: []byte("fresh")}) // and hangs up when it is asked more
	if ev, err := d.Quote(t.Context(), [64]byte{}); err != nil || ev.BootLog != nil {
		t.Errorf("a host without logs: %q, %v", ev.BootLog, err)
	}
}

func TestBootLogIsBounded(t *testing.T) {
	b, err := json.Marshal(Answer{ID: 1, BootLog: make([]byte, vm.MaxBootLogSize+1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseAnswer(OpLog, b); err == nil || !strings.Contains(err.Error(), "boot log of 262145 bytes") {
		t.Errorf("a huge log: %v", err)
	}
}
