package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/machine"
)

func quiet(string, ...any) {}

func TestGuestSteps(t *testing.T) {
	g := newGuest(time.Now())
	for _, line := range []string{
		"BdsDxe: starting Boot0000",
		`secretvm: {"step":"measure","state":"start"}`,
		`secretvm: {"step":"measure","state":"ok","ms":400,"remark":"root 51ab"}`,
		`secretvm: {"step":"keys","state":"start"}`,
	} {
		g.read(line, quiet)
	}
	p, err := g.wait(t.Context(), "measure")
	if err != nil || p.Remark != "root 51ab" {
		t.Errorf("measure: %+v, %v", p, err)
	}
	if !g.began("keys") || g.began("disk") {
		t.Error("keys has begun and disk has not")
	}
	if text := g.timeline(); !strings.Contains(text, "measure 0.4s") {
		t.Errorf("timeline is %q", text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.wait(ctx, "keys"); err == nil || !strings.Contains(err.Error(), "--timeout") {
		t.Errorf("waiting too long for keys: %v", err)
	}
	go g.read(`secretvm: {"step":"keys","state":"ok"}`, quiet)
	if _, err := g.wait(t.Context(), "keys"); err != nil {
		t.Errorf("keys: %v", err)
	}
}

func TestGuestFailures(t *testing.T) {
	halted, failed, gone := newGuest(time.Now()), newGuest(time.Now()), newGuest(time.Now())
	halted.read("secretvm: HALT keys: image-not-allowed: RTMR3 differs", quiet)
	halted.read("secretvm: HALT disk: a second reason does not replace the first", quiet)
	var halt console.Halt
	if _, err := halted.wait(t.Context(), "disk"); !errors.As(err, &halt) || halt.Step != "keys" {
		t.Errorf("halted: %v", err)
	}
	failed.read(`secretvm: {"step":"workload","state":"failed","error":"no such image"}`, quiet)
	if _, err := failed.wait(t.Context(), "workload"); err == nil || err.Error() != "no such image" {
		t.Errorf("failed: %v", err)
	}
	gone.change(func() { gone.ended = true })
	if _, err := gone.wait(t.Context(), "disk"); !errors.Is(err, machine.ErrPoweredOff) {
		t.Errorf("gone: %v", err)
	}
}

// A guest that invents steps must not make the host remember all of them.
func TestGuestIsBounded(t *testing.T) {
	g := newGuest(time.Now())
	for i := range 10 * maxSteps {
		g.read(fmt.Sprintf(`secretvm: {"step":"s%d","state":"ok"}`, i), quiet)
	}
	if len(g.steps) > maxSteps || len(g.at) > maxSteps {
		t.Errorf("%d steps are remembered", len(g.steps))
	}
}
