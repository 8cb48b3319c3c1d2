package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run secretvm as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"secretvm": main})
}

// tidy removes after all tests what they share.
type tidy struct{ *testing.M }

// Run implements testscript.TestingM.
func (t tidy) Run() int {
	defer func() { _ = os.RemoveAll(kmsdFolder) }()
	return t.M.Run()
}

// scriptCommands are the commands that scripts have beyond testscript's own.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// exits CODE PROGRAM ARGS…: the program ends with exactly this exit code.
	"exits": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
		}
		if got := exitCode(ts.Exec(args[1], args[2:]...)); got != args[0] {
			ts.Fatalf("%s ended with exit code %s, want %s", args[1], got, args[0])
		}
	},
	// save FILE: keeps the last command's stdout.
	"save": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: save FILE")
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile("stdout")), 0o600))
	},
}
