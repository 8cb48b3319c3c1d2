package main

import (
	"path/filepath"
	"testing"
)

// BenchmarkLocalChain is what a first `secretvm up` waits for: the home of a chain
// of one is made, and its node is started until releases can be decided. The
// bound is 2 s; it is not asserted, for the computer may be busy.
//
//	go test ./cmd/kmsd -run none -bench LocalChain -benchtime 10x
func BenchmarkLocalChain(b *testing.B) {
	for b.Loop() {
		k := &kmsd{t: b, home: filepath.Join(b.TempDir(), "kms")}
		k.run(0, nil, "init")
		process, _ := k.start()
		b.StopTimer()
		must(b, process.Process.Kill())
		_ = process.Wait()
		b.StartTimer()
	}
}
