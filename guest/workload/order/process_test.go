package order

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/ipc/ipctest"
)

// TestMain is also the program of the process under test.
func TestMain(m *testing.M) { ipctest.Main(m, Part, part) }

// part answers a few questions, and dies of one.
func part() error {
	var none struct{}
	if err := ipc.Settings(&none); err != nil {
		return err
	}
	ctx, stop := ipc.UntilStopped()
	defer stop()
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	news := News{Version: 1, Workload: Running, Notes: []Note{{1, "here I am"}}}
	s := ipc.NewServer(nil)
	ipc.Handle(s, Tell, func(ctx context.Context, seen Seen) (News, error) {
		for seen.Wait && ctx.Err() == nil {
			mu.Lock()
			more := news.Version > seen.Version
			mu.Unlock()
			if more {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		return news, nil
	})
	ipc.Handle(s, Up, func(context.Context, struct{}) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		news.Version++
		news.Notes = append(news.Notes, Note{news.Version, "coming up"})
		news.Containers = []Container{{Name: "web"}}
		return "1 container", nil
	})
	ipc.Handle(s, Check, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, fmt.Errorf("a tag") })
	ipc.Handle(s, Engine, func(context.Context, struct{}) (struct{}, error) { os.Exit(7); return struct{}{}, nil })
	return s.Serve(ctx, l)
}

type commands struct{}

func (commands) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (commands) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

// TestProcessEndsAndStartsAgain: guestd hears each note once, those of before an
// answer before it; when the process dies, it says so, and another one takes over.
func TestProcessEndsAndStartsAgain(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can hand a socket to root")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var notes []string
	p := &Process{Commands: commands{}, Program: program, Socket: filepath.Join(t.TempDir(), "s"), Note: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, s)
	}}
	if word, _ := p.State(); word != Starting || p.Started() {
		t.Errorf("before it starts: %s", word)
	}
	if _, err := Ask[struct{}, string](t.Context(), p, Up, struct{}{}); err == nil {
		t.Error("an answer of nobody")
	}
	for life := 1; life <= 2; life++ {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := Ask[struct{}, struct{}](t.Context(), p, Check, struct{}{}); err == nil || err.Error() != "a tag" {
			t.Errorf("a refusal: %v", err)
		}
		remark, err := Ask[struct{}, string](t.Context(), p, Up, struct{}{})
		if err != nil || remark != "1 container" {
			t.Fatalf("%q, %v", remark, err)
		}
		mu.Lock()
		if got := strings.Join(notes, "|"); got != strings.TrimSuffix(strings.Repeat("here I am|coming up|", life), "|") {
			t.Errorf("in life %d it says %s", life, got)
		}
		mu.Unlock()
		if word, containers := p.State(); word != Running || len(containers) != 1 {
			t.Errorf("in life %d: %s, %v", life, word, containers)
		}
		if _, err := Ask[struct{}, struct{}](t.Context(), p, Engine, struct{}{}); err == nil || err.Error() != "what runs the workload has ended: exit status 7" {
			t.Errorf("it died: %v", err)
		}
		if err := p.Wait(t.Context()); err == nil || err.Error() != "exit status 7" {
			t.Errorf("how it ended: %v", err)
		}
		for range 100 {
			if word, _ := p.State(); word == Degraded {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if word, containers := p.State(); word != Degraded || containers != nil {
			t.Errorf("after it died: %s, %v", word, containers)
		}
	}
	p.Over()
	if word, _ := p.State(); word != Stopped {
		t.Errorf("in the end: %s", word)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	w := Work{Environment: Secret("hunter2"), Registry: Secret("hunter2")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if text := fmt.Sprintf(verb, w); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

// TestLinesFit: of a log that is too long the last lines are told; bytes stay what
// they are, and the rest of a long line stays behind it.
func TestLinesFit(t *testing.T) {
	long := bytes.Repeat([]byte{0xff, 0, '<'}, 5000)
	lines := make([]Line, 400)
	for i := range lines {
		lines[i] = Line{time.Unix(int64(i), 1), "guestbook-web-1", long}
	}
	some := Fit(lines)
	out, err := json.Marshal(some)
	if err != nil || len(out) > ipc.MaxMessage || len(out) < ipc.MaxMessage-2*len(long) || some[len(some)-1].Time != lines[399].Time {
		t.Errorf("%d of %d lines in %d bytes, %v", len(some), len(lines), len(out), err)
	}
	var back []Line
	if err := json.Unmarshal(out, &back); err != nil || !bytes.Equal(back[0].Text, long) {
		t.Errorf("lines do not come back: %v", err)
	}
	mixed := []Line{{time.Unix(5, 0), "a", []byte("first")}, {time.Time{}, "a", []byte("its rest")}, {time.Unix(3, 0), "b", []byte("before")}}
	if Sort(mixed); string(mixed[0].Text)+string(mixed[1].Text)+string(mixed[2].Text) != "beforefirstits rest" {
		t.Errorf("in order: %s", mixed)
	}
}
