package configdisk

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNetworkHints(t *testing.T) {
	for _, tt := range []struct{ hints, wantErr string }{
		{`{}`, ""},
		{`{"network":{"addresses":["192.0.2.7/24"],"gateways":["192.0.2.1"],"dns":["192.0.2.53","2001:db8::53"]}}`, ""},
		{`{"network":{"addresses":["192.0.2.7/24","2001:db8::7/64"],"gateways":["192.0.2.1","fe80::1"]}}`, ""},
		{`{"network":{"dns":["9.9.9.9"]}}`, ""},
		{`{"network":{"addresses":["192.0.2.7"]}}`, "decode hints"},
		{`{"network":{"addresses":["192.0.2.7/0"]}}`, "want a unicast address and the length"},
		{`{"network":{"addresses":["0.0.0.0/24"]}}`, "want a unicast"},
		{`{"network":{"addresses":["127.0.0.2/8"]}}`, "want a unicast"},
		{`{"network":{"addresses":["224.0.0.1/24"]}}`, "want a unicast"},
		{`{"network":{"addresses":["255.255.255.255/32"]}}`, "want a unicast"},
		{`{"network":{"addresses":["169.254.169.254/16"]}}`, "want a unicast"},
		{`{"network":{"addresses":["::1/128"]}}`, "want a unicast"},
		{`{"network":{"addresses":["::ffff:192.0.2.7/120"]}}`, "hint"},
		{`{"network":{"addresses":["192.0.2.7/24"],"gateways":["198.51.100.1"]}}`, "in the network of none"},
		{`{"network":{"addresses":["192.0.2.7/24"],"gateways":["192.0.2.7"]}}`, "in the network of none"},
		{`{"network":{"addresses":["192.0.2.7/24"],"gateways":["fe80::1"]}}`, "in the network of none"},
		{`{"network":{"addresses":["2001:db8::7/64"],"gateways":["fe80::1%eth0"]}}`, "want a unicast"},
		{`{"network":{"gateways":["192.0.2.1"]}}`, "in the network of none"},
		{`{"network":{"addresses":["192.0.2.7/24"],"gateways":["192.0.2.1","192.0.2.2"]}}`, "one of each family"},
		{`{"network":{"dns":["127.0.0.53"]}}`, "hint dns"},
		{`{"network":{"dns":["9.9.9.9","8.8.8.8","1.1.1.1","8.8.4.4"]}}`, "4 name servers"},
		{`{"network":{"dns":["resolver"]}}`, "decode hints"},
		{`{"network":{"routes":[]}}`, "unknown field"},
	} {
		h, err := parseHints([]byte(tt.hints))
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.hints, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.hints, err)
			continue
		}
		if b, err := encodeHints(h); err != nil || string(b) != tt.hints {
			t.Errorf("%s becomes %s, %v", tt.hints, b, err)
		}
	}
}

func FuzzHints(f *testing.F) {
	f.Add([]byte(`{"kms":["http://a"],"network":{"addresses":["192.0.2.7/24"],"gateways":["192.0.2.1"],"dns":["192.0.2.53"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHints(b)
		if err != nil {
			return
		}
		if again, err := json.Marshal(h); err != nil || h.validate() != nil {
			t.Errorf("accepted %s, %v", again, err)
		}
	})
}
