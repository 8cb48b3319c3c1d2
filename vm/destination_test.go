package vm

import (
	"slices"
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	for _, tt := range []struct{ text, wantErr string }{
		{"registry.example:443", ""},
		{"localhost:80", ""},
		{"_dmarc.example.org:53", ""},
		{"*.example.org:443", ""},
		{"192.0.2.1:1", ""},
		{"192.0.2.0/24:65535", ""},
		{"0.0.0.0/0:443", ""},
		{"[2001:db8::1]:443", ""},
		{"[2001:db8::/32]:443", ""},
		{"example.org", "is not host:port"},
		{"example.org:", "the port is a number"},
		{"example.org:0", "the port is a number"},
		{"example.org:65536", "the port is a number"},
		{"example.org:https", "the port is a number"},
		{"example.org:0443", "another form"},
		{":443", "is not host:port"},
		{"*:443", "is not host:port"},
		{"*.*.org:443", "is not host:port"},
		{"Example.org:443", "in lower case"},
		{"example.org.:443", "is not host:port"},
		{"exa mple.org:443", "is not host:port"},
		{"300.1.1.1:443", "is not host:port"},
		{"0x7f.1:443", "is not host:port"},
		{"192.0.2.1/24:443", "another form"},
		{"192.0.2.1/32:443", "another form"},
		{"[192.0.2.1]:443", "another form"},
		{"[2001:DB8::1]:443", "another form"},
		{"[::ffff:192.0.2.1]:443", "is not host:port"},
		{"[fe80::1%eth0]:443", "is not host:port"},
		{"2001:db8::1:443", "another form"},
		{"[2001:db8::1:443", "unclosed bracket"},
		{"[example.org]:443", "is not host:port"},
		{strings.Repeat("a.", 130) + "org:443", "is not host:port"},
	} {
		d, err := ParseDestination(tt.text)
		switch {
		case tt.wantErr == "" && (err != nil || d.String() != tt.text):
			t.Errorf("%s: %+v, %v", tt.text, d, err)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%s: %+v, %v, want an error with %q", tt.text, d, err, tt.wantErr)
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, s := range []string{"example.org:443", "*.a:1", "192.0.2.0/24:80", "[2001:db8::]:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDestination(s)
		if err == nil && (d.String() != s || d.Port == 0 || (d.Name == "") != d.Prefix.IsValid()) {
			t.Errorf("%q is accepted as %+v", s, d)
		}
	})
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		destination, name string
		want              bool
	}{
		{"example.org:443", "example.org", true},
		{"example.org:443", "www.example.org", false},
		{"*.example.org:443", "www.example.org", true},
		{"*.example.org:443", "a.b.example.org", true},
		{"*.example.org:443", "example.org", false},
		{"*.example.org:443", ".example.org", false},
		{"*.example.org:443", "badexample.org", false},
		{"192.0.2.1:443", "192.0.2.1", false},
	} {
		d, err := ParseDestination(tt.destination)
		if err != nil || d.Covers(tt.name) != tt.want {
			t.Errorf("%s covers %s: %v (%v), want %v", tt.destination, tt.name, !tt.want, err, tt.want)
		}
	}
}

func TestDestinations(t *testing.T) {
	many := make([]string, MaxEgress+1)
	for i := range many {
		many[i] = "a:1"
	}
	for _, tt := range []struct {
		egress     []string
		want       int
		restricted bool
		wantErr    string
	}{
		{nil, 0, false, ""},
		{[]string{EgressNone}, 0, true, ""},
		{[]string{"192.0.2.1:80", "example.org:443"}, 2, true, ""},
		{[]string{"example.org:443", "192.0.2.1:80"}, 0, true, "sorted"},
		{[]string{"example.org:443", "example.org:443"}, 0, true, "repetition"},
		{[]string{"example.org:443", EgressNone}, 0, true, "host:port"},
		{many, 0, true, "at most 64"},
	} {
		c := testConfig()
		c.Egress = slices.Clone(tt.egress)
		list, restricted, err := c.Destinations()
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || c.Validate() == nil {
				t.Errorf("%q: %v, want an error with %q", tt.egress, err, tt.wantErr)
			}
			continue
		}
		if err != nil || len(list) != tt.want || restricted != tt.restricted || c.Validate() != nil {
			t.Errorf("%q: %v, restricted %v, %v", tt.egress, list, restricted, err)
		}
	}
}
