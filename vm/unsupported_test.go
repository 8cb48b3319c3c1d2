package vm

import (
	"strings"
	"testing"
)

func TestUnsupportedSettingsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		wantErr string
	}{
		{"plain", func(*Config) {}, ""},
		{"integrity", func(c *Config) { c.Disk.Integrity = true }, ""},
		{"egress", func(c *Config) { c.Egress = []string{"registry.example:443"} }, ""},
		{"gpu", func(c *Config) { c.GPU = GPUAttest }, ""},
		{"gpu, and a contract", func(c *Config) { c.GPU, c.KMS.Provider = GPUAttest, ProviderSecretNetwork }, "judges GPUs"},
	} {
		c := testConfig()
		tt.change(&c)
		err := c.Unsupported()
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: Unsupported = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
}
