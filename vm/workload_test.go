package vm

import (
	"bytes"
	"strings"
	"testing"
)

func TestConfigOfWorkload(t *testing.T) {
	digest := HashOf([]byte("image"))
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		wantErr string
	}{
		{"all of it", func(c *Config) {
			c.Pins = Pins{"redis:7": digest, "ghcr.io/a/b:${TAG:-1}": digest}
			c.Privileged, c.Profiles = []string{"agent", "web"}, []string{"debug"}
		}, ""},
		{"pin of nothing", func(c *Config) { c.Pins = Pins{"": digest} }, "pinned"},
		{"pin to nothing", func(c *Config) { c.Pins = Pins{"redis:7": {}} }, "pinned"},
		{"long name", func(c *Config) { c.Pins = Pins{strings.Repeat("a", 513): digest} }, "at most 512"},
		{"order", func(c *Config) { c.Privileged = []string{"b", "a"} }, "privileged"},
		{"repetition", func(c *Config) { c.Profiles = []string{"a", "a"} }, "profiles"},
		{"name", func(c *Config) { c.Profiles = []string{"a b"} }, "profiles"},
	} {
		c := testConfig()
		tt.change(&c)
		canonical, err := c.Canonical()
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		again, err := ParseConfig(canonical)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if b, _ := again.Canonical(); !bytes.Equal(b, canonical) {
			t.Errorf("%s: read back as %s", tt.name, b)
		}
	}
}
