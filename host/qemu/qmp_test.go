package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

const greeting = `{"QMP":{"version":{"qemu":{"micro":0,"minor":0,"major":10}},"capabilities":["oob"]}}`

// peer is the other end of a QMP connection, at the level of lines.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

// dial connects a client to a peer that first runs script.
func dial(t *testing.T, script func(*peer)) (*QMP, error) {
	t.Helper()
	client, server := net.Pipe()
	p := &peer{t, server, bufio.NewScanner(server)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		script(p)
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return NewQMP(ctx, client)
}

func (p *peer) send(lines ...string) {
	for _, line := range lines {
		if _, err := p.conn.Write([]byte(line + "\r\n")); err != nil {
			return
		}
	}
}

// expect reads one command, answers it, and returns its arguments.
func (p *peer) expect(command, answer string) {
	if !p.in.Scan() {
		p.t.Errorf("connection ended, want command %s", command)
		return
	}
	var m struct{ Execute string }
	if err := json.Unmarshal(p.in.Bytes(), &m); err != nil || m.Execute != command {
		p.t.Errorf("got %s (%v), want command %s", p.in.Text(), err, command)
	}
	p.send(answer)
}

func TestQMPSession(t *testing.T) {
	q, err := dial(t, func(p *peer) {
		p.send(greeting)
		p.expect("qmp_capabilities", `{"return":{}}`)
		p.send(`{"timestamp":{"seconds":1,"microseconds":2},"event":"RESUME"}`)
		p.expect("query-status", `{"return":{"status":"running","running":true}}`)
		p.expect("system_powerdown", `{"return":{}}`)
		p.send(`{"event":"POWERDOWN"}`, `{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}`)
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := q.Status(t.Context()); err != nil || status != "running" {
		t.Errorf("status is %q, %v", status, err)
	}
	if err := q.PowerButton(t.Context()); err != nil {
		t.Error(err)
	}
	var names []string
	for e := range q.Events() {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "RESUME POWERDOWN SHUTDOWN" {
		t.Errorf("events are %s", got)
	}
	if err := q.PowerButton(t.Context()); err == nil {
		t.Error("a command over an ended connection succeeds")
	}
}

func TestQMPErrors(t *testing.T) {
	ready := func(then func(*peer)) func(*peer) {
		return func(p *peer) {
			p.send(greeting)
			p.expect("qmp_capabilities", `{"return":{}}`)
			then(p)
		}
	}
	for name, tc := range map[string]struct {
		script  func(*peer)
		wantErr string
	}{
		"no greeting": {func(p *peer) { p.send(`{"return":{}}`) }, "no greeting"},
		"not JSON":    {func(p *peer) { p.send(`hello`) }, "decode"},
		"closed":      {func(*peer) {}, "EOF"},
		"no capabilities": {func(p *peer) {
			p.send(greeting)
			p.expect("qmp_capabilities", `{"error":{"class":"GenericError","desc":"no"}}`)
		}, "qmp_capabilities: GenericError: no"},
		"error answer":      {ready(func(p *peer) { p.expect("query-status", `{"error":{"class":"CommandNotFound","desc":"gone"}}`) }), "query-status: CommandNotFound: gone"},
		"other answer":      {ready(func(p *peer) { p.expect("query-status", `{"return":7}`) }), "decode its answer"},
		"closed in command": {ready(func(p *peer) { p.in.Scan() }), "EOF"},
		"endless line":      {ready(func(p *peer) { p.in.Scan(); p.send(strings.Repeat("x", maxQMPLine+2)) }), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := dial(t, tc.script)
			if err == nil {
				_, err = q.Status(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}

func TestQMPCommandEndsWithItsContext(t *testing.T) {
	q, err := dial(t, func(p *peer) {
		p.send(greeting)
		p.expect("qmp_capabilities", `{"return":{}}`)
		p.in.Scan() // and never answer
		p.in.Scan()
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := q.Status(ctx); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("error is %v, want the deadline", err)
	}
}
