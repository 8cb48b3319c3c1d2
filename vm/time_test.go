package vm

import (
	"strings"
	"testing"
)

func TestTimeServers(t *testing.T) {
	many := strings.Split(strings.Repeat("a.example.org ", MaxTimeServers)+"b.example.org", " ")
	for _, tt := range []struct {
		servers []string
		wantErr string
	}{
		{nil, ""},
		{[]string{"192.0.2.1", "192.0.2.1:1123", "time.example.org", "[2001:db8::1]:123", "time.example.org", "time.example.org:4460"}, "sorted"},
		{[]string{"192.0.2.1", "2001:db8::1", "[2001:db8::1]:123", "time.example.org"}, ""},
		{[]string{}, "0 servers"},
		{many, "9 servers"},
		{[]string{"Time.example.org"}, "no time server"},
		{[]string{"time.example.org:0"}, "no time server"},
		{[]string{"time.example.org:70000"}, "no time server"},
		{[]string{"-v"}, "no time server"},
		{[]string{""}, "no time server"},
		{[]string{"b.example.org", "a.example.org"}, "sorted"},
		{[]string{"a.example.org", "a.example.org"}, "sorted"},
	} {
		err := validateTime(tt.servers)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%q: %v, want %q", tt.servers, err, tt.wantErr)
		}
	}
}
