package runtime

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// TestShutdownOrder: everything is undone, last first, whatever fails or
// hangs on the way.
func TestShutdownOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // the one that hangs is never waited for
		var order, said []string
		var s stops
		for _, tt := range []struct {
			name string
			run  func(ctx context.Context) error
		}{
			{"close the disk", func(context.Context) error { return nil }},
			{"engine", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{"hangs", func(context.Context) error { time.Sleep(time.Hour); return nil }},
			{"workload", func(context.Context) error { return errors.New("it is gone") }},
		} {
			s.add(tt.name, 10*time.Second, func(ctx context.Context) error {
				mu.Lock()
				order = append(order, tt.name)
				mu.Unlock()
				return tt.run(ctx)
			})
		}
		start := time.Now()
		s.run(func(text string) { said = append(said, text) })
		if got := strings.Join(order, ", "); got != "workload, hangs, engine, close the disk" {
			t.Errorf("order: %s", got)
		}
		if got := strings.Join(said, " | "); got != "workload: it is gone | hangs: still not done after 10s, going on without it | engine: context deadline exceeded" {
			t.Errorf("said: %s", got)
		}
		if took := time.Since(start); took != 23*time.Second {
			t.Errorf("took %v, want the two time-outs", took)
		}
		s.run(func(string) { t.Error("undone twice") })
		time.Sleep(2 * time.Hour) // let the hanging one end
	})
}

// TestWaitingIsTold: what a step waits for is on the console and in the status
// each time, and what nodes said about it once.
func TestWaitingIsTold(t *testing.T) {
	var out bytes.Buffer
	c := console.New(&out)
	m := &machine{out: c, journal: &journal{console: c, over: true}, work: new(order.Process)}
	m.journal.Started("keys")
	waiting := m.waiting()
	const said = "connection\nrefused [unavailable]"
	waiting(keys.Waiting{Text: "2 of 4 nodes answer, 3 needed; next try in 1s", Said: said})
	waiting(keys.Waiting{Text: "2 of 4 nodes answer, 3 needed; next try in 8s", Said: said})
	if got := m.status(); got.Waiting != "2 of 4 nodes answer, 3 needed; next try in 8s" || got.Running != "keys" {
		t.Errorf("status is %+v", got)
	}
	m.journal.Finished(step.Result{Name: "keys"})
	if got := m.status(); got.Waiting != "" {
		t.Errorf("it still waits for %q", got.Waiting)
	}
	want := `secretvm: {"step":"keys","state":"start"}
secretvm: {"step":"keys","state":"waiting","remark":"2 of 4 nodes answer, 3 needed; next try in 1s"}
secretvm: note: keys: waiting for the key manager: connection refused [unavailable]
secretvm: {"step":"keys","state":"waiting","remark":"2 of 4 nodes answer, 3 needed; next try in 8s"}
secretvm: {"step":"keys","state":"ok"}
`
	if out.String() != want {
		t.Errorf("console shows\n%swant\n%s", out.String(), want)
	}
}

func TestRefusalNamesItsCodeFirst(t *testing.T) {
	for want, err := range map[string]error{
		"image-not-allowed: ask: registers match no image [image-not-allowed]": fmt.Errorf("ask: %w", vm.Refuse(vm.CodeImage, "registers match no image")),
		"no quote": errors.New("no quote"),
	} {
		if got := refusal(err).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// ledger is a chain and a disk that count generations.
type ledger struct {
	chain, disk uint64
	deaf        bool
	deafUntil   time.Time
	lost        bool // the chain hears, its answer does not arrive
	written     []uint64
}

func (l *ledger) Generation() uint64 { return l.chain }

func (l *ledger) Advance(_ context.Context, n uint64, wait bool) error {
	for l.deaf || time.Now().Before(l.deafUntil) {
		if !wait || l.deaf {
			return vm.Refuse(vm.CodeUnavailable, "nobody there")
		}
		time.Sleep(time.Second)
	}
	if n != l.chain && n != l.chain+1 {
		return vm.Refuse(vm.CodeInvalid, "generation %d after %d", n, l.chain)
	}
	l.chain = n
	if l.lost {
		return vm.Refuse(vm.CodeUnavailable, "no answer")
	}
	return nil
}

func (l *ledger) SetGeneration(n uint64) error {
	l.disk = n
	l.written = append(l.written, n)
	return nil
}

// TestD4_DiskIsNeverTwoAhead: whatever the chain hears or not, the next boot
// accepts the disk.
func TestD4_DiskIsNeverTwoAhead(t *testing.T) {
	for _, tt := range []struct {
		name         string
		hears, knows []bool // per attempt: is the chain reached, does its answer arrive
		want         uint64
	}{
		{"all well", []bool{true, true, true}, []bool{true, true, true}, 8},
		{"deaf in the middle", []bool{true, false, false, true}, []bool{true, true, true, true}, 7},
		{"answers lost", []bool{true, true, true, true}, []bool{true, false, false, true}, 7},
		{"deaf to the end", []bool{true, false, false}, []bool{true, true, true}, 7},
	} {
		l := &ledger{chain: 5, disk: 5}
		g := &generations{volume: l, session: l}
		for i := range tt.hears {
			l.deaf, l.lost = !tt.hears[i], !tt.knows[i]
			var err error
			if i == 0 {
				err = g.first(t.Context())
			} else {
				err = g.last(t.Context())
			}
			if (err == nil) != (tt.hears[i] && tt.knows[i]) {
				t.Errorf("%s, attempt %d: %v", tt.name, i, err)
			}
			if l.disk != l.chain && l.disk != l.chain+1 {
				t.Errorf("%s, attempt %d: disk says %d, chain %d", tt.name, i, l.disk, l.chain)
			}
		}
		if l.disk != tt.want {
			t.Errorf("%s: disk says %d, want %d", tt.name, l.disk, tt.want)
		}
	}
}

func TestFirstGenerationWaitsForTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{deafUntil: time.Now().Add(time.Minute)}
		g := &generations{volume: l, session: l}
		start := time.Now()
		if err := g.first(t.Context()); err != nil || l.chain != 1 || len(l.written) != 1 {
			t.Errorf("%v, chain %d, written %v", err, l.chain, l.written)
		}
		if time.Since(start) < time.Minute {
			t.Error("did not wait")
		}
	})
}

func TestReadHandOver(t *testing.T) {
	composeFile := []byte("services: {web: {image: x}}\n")
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf(composeFile), Service: "svm1owner/guestbook",
		KMS: vm.KMS{ChainID: "c-1", GroupKey: strings.Repeat("00", 96)}, InstanceID: strings.Repeat("1", 32),
		TLS: "self", Images: "digest", GPU: "none",
	}
	canonical, err := cfg.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	events, _ := json.Marshal([]vm.Event{vm.RuntimeEvent(vm.EventBootComplete, nil)})
	steps, _ := json.Marshal([]step.Result{{Name: "measure", Took: time.Second}})
	good := map[string]string{
		configdisk.ConfigName: string(canonical), configdisk.ComposeName: string(composeFile), configdisk.HintsName: `{"kms":["http://10.0.2.2:1"]}`,
		initramfs.EventsName: string(events), initramfs.StepsName: string(steps),
	}
	for _, tt := range []struct{ name, file, content, wantErr string }{
		{"good", "", "", ""},
		{"another compose file", configdisk.ComposeName, "services: {evil: {image: x}}\n", "compose"},
		{"files nobody measured", configdisk.FilesName, "tar", "files"},
		{"broken config", configdisk.ConfigName, "{}", "config"},
		{"broken events", initramfs.EventsName, "{", "decode events.json"},
		{"broken hints", configdisk.HintsName, "[", "decode hints.json"},
		{"missing steps", initramfs.StepsName, "-", "no such file"},
	} {
		dir := t.TempDir()
		for name, content := range good {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case tt.content == "-":
			_ = os.Remove(filepath.Join(dir, tt.file))
		case tt.file != "":
			_ = os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600)
		}
		h, err := readHandOver(dir)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		if err != nil || h.name() != "guestbook" || len(h.events) != 1 || len(h.steps) != 1 || h.archive.Hints.KMS[0] != "http://10.0.2.2:1" {
			t.Errorf("%s: %+v, %v", tt.name, h, err)
		}
	}
}

func TestPowerKey(t *testing.T) {
	event := func(kind, code uint16, value uint32) []byte {
		b := make([]byte, eventSize)
		ne := binary.NativeEndian
		ne.PutUint16(b[16:], kind)
		ne.PutUint16(b[18:], code)
		ne.PutUint32(b[20:], value)
		return b
	}
	for _, tt := range []struct {
		name  string
		event []byte
		want  bool
	}{
		{"press", event(1, 116, 1), true}, {"release", event(1, 116, 0), false}, {"another key", event(1, 142, 1), false}, {"synchronisation", event(0, 0, 0), false},
	} {
		if pressed(tt.event) != tt.want {
			t.Errorf("%s: %t", tt.name, !tt.want)
		}
	}
}

func TestMountsBelow(t *testing.T) {
	const info = `22 1 254:0 / / ro - erofs /dev/dm-0 ro
40 22 254:1 / /data rw,nodev - ext4 /dev/dm-1 rw
41 40 0:50 / /data/docker/overlay2/a/merged rw - overlay overlay rw
42 22 254:1 / /database rw - ext4 /dev/dm-1 rw
43 40 0:51 / /data/with\040space\134 rw - tmpfs tmpfs rw
short line
`
	got := mountsBelow(info, "/data")
	if want := []string{"/data/docker/overlay2/a/merged", `/data/with space\`}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWithinSaysHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := within(t.Context(), 5*time.Second, func(ctx context.Context) error { <-ctx.Done(); return errors.New("still pulling") })
		if err == nil || err.Error() != "not done within 5s: still pulling" {
			t.Errorf("got %v", err)
		}
	})
}

func TestTimeZone(t *testing.T) {
	zone, err := time.LoadLocationFromTZData("machine", []byte(utc))
	if err != nil {
		t.Fatal(err)
	}
	if name, offset := time.Unix(0, 0).In(zone).Zone(); name != "UTC" || offset != 0 {
		t.Errorf("the machine's zone is %s, %d s from UTC", name, offset)
	}
}
