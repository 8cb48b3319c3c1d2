package vm

import (
	"strings"
	"testing"
)

func testACME() *ACME {
	return &ACME{Names: []string{"a.example.org", "b.example.org"}, CA: "https://ca.example/directory", Challenge: ChallengeHTTP}
}

func TestACMEValidate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*ACME)
		wantErr string
	}{
		{"good", func(*ACME) {}, ""},
		{"everything", func(a *ACME) { a.Email, a.Roots, a.Challenge = "me@example.org", "x", ChallengeTLS }, ""},
		{"no names", func(a *ACME) { a.Names = nil }, "0 names"},
		{"too many names", func(a *ACME) { a.Names = make([]string, 17) }, "17 names"},
		{"unsorted", func(a *ACME) { a.Names = []string{"b.example.org", "a.example.org"} }, "sorted"},
		{"repeated", func(a *ACME) { a.Names = []string{"a.example.org", "a.example.org"} }, "sorted"},
		{"address", func(a *ACME) { a.Names = []string{"192.0.2.1"} }, "no full DNS name"},
		{"dot at the end", func(a *ACME) { a.Names = []string{"a.example.org."} }, "no full DNS name"},
		{"long", func(a *ACME) { a.Names = []string{strings.Repeat("a.", 130) + "org"} }, "no full DNS name"},
		{"line end in a name", func(a *ACME) { a.Names = []string{"a.example.org\n"} }, "no full DNS name"},
		{"wildcard", func(a *ACME) { a.Names = []string{"*.example.org"} }, "stands for many names"},
		{"no CA", func(a *ACME) { a.CA = "" }, "acme.ca"},
		{"CA without TLS", func(a *ACME) { a.CA = "http://ca.example/" }, "acme.ca"},
		{"CA with a password", func(a *ACME) { a.CA = "https://u:p@ca.example/" }, "acme.ca"},
		{"two addresses", func(a *ACME) { a.Email = "a@example.org,b@example.org" }, "acme.email"},
		{"challenge", func(a *ACME) { a.Challenge = "dns-01" }, "acme.challenge"},
		{"services", func(a *ACME) { a.Services = []string{"api", "web"} }, ""},
		{"unsorted services", func(a *ACME) { a.Services = []string{"web", "api"} }, "acme.services"},
		{"service of another spelling", func(a *ACME) { a.Services = []string{"web/.."} }, "acme.services"},
		{"roots", func(a *ACME) { a.Roots = strings.Repeat("x", MaxRoots+1) }, "acme.roots"},
	} {
		a := testACME()
		tt.change(a)
		err := a.validate()
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: validate() = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
}
