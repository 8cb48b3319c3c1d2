package verification_test

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/verification"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ in, want, wantErr string }{
		{"vm.example", "https://vm.example:29343", ""},
		{"vm.example:443", "https://vm.example:443", ""},
		{"https://vm.example", "https://vm.example:29343", ""},
		{"https://vm.example:8443/behind/a/proxy/", "https://vm.example:8443/behind/a/proxy", ""},
		{"127.0.0.1:29343", "https://127.0.0.1:29343", ""},
		{"::1", "https://[::1]:29343", ""},
		{"https://[::1]:1", "https://[::1]:1", ""},
		{"http://vm.example", "", "want https://"},
		{"https://user@vm.example", "", "user, query or fragment"},
		{"https://vm.example/?x=1", "", "user, query or fragment"},
		{"https://vm.example/#x", "", "user, query or fragment"},
		{"https://:29343", "", "without a host"},
		{"", "", "without a host"},
		{"vm.example:0", "", "port 0"},
		{"vm.example:70000", "", "port 70000"},
		{"vm example", "", "not a URL"},
		{"ftp://vm.example", "", "ftp://"},
	} {
		got, err := verification.ParseAddress(c.in)
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("ParseAddress(%q): %v, want %q", c.in, err, c.wantErr)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("ParseAddress(%q) = %s, %v, want %s", c.in, got, err, c.want)
		}
	}
}
