package kms

import (
	"strings"
	"testing"
)

// TestBounded: what strangers wrote cannot act upon the owner's terminal.
func TestBounded(t *testing.T) {
	if got := bounded("a\x1b[31mb\n\x7f\u009bc"); got != "a?[31mb???c" {
		t.Errorf("control characters became %q", got)
	}
	if got := bounded(strings.Repeat("ä", 1000)); len([]rune(got)) != 512 {
		t.Errorf("%d characters were kept, want 512", len([]rune(got)))
	}
	if got := bounded("a\xffb"); got != "a?b" {
		t.Errorf("invalid UTF-8 became %q", got)
	}
}
