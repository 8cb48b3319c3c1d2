package compose

import (
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func TestTLSSettings(t *testing.T) {
	w, err := Parse([]byte(`
x-secretvm:
  images: tag
  tls: { names: [www.example.org, example.org], email: owner@example.org, ca: letsencrypt-staging, challenge: tls-alpn-01, services: [web] }
services:
  web: { image: nginx, ports: ["80:80"], volumes: ["/run/secretvm/tls:/tls:ro"] }
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := w.Settings.TLS
	if !slices.Equal(a.Names, []string{"example.org", "www.example.org"}) || a.Email != "owner@example.org" || a.Challenge != vm.ChallengeTLS || !slices.Equal(a.Services, []string{"web"}) ||
		a.CA != "https://acme-staging-v02.api.letsencrypt.org/directory" || a.Port() != 443 {
		t.Errorf("settings are %+v", a)
	}
	config, err := w.Config("svm1owner/web", vm.KMS{ChainID: "secretvm-local", GroupKey: strings.Repeat("8a", 96)}, vm.NoInstance)
	if err != nil || config.TLS != "acme" || config.ACME == nil {
		t.Errorf("config is %+v, %v", config, err)
	}
	w, err = Parse([]byte("x-secretvm: { images: tag, tls: { names: [example.org] } }\nservices: { web: { image: nginx, ports: ['443:443'] } }"), nil)
	if err != nil || w.Settings.TLS.CA != "https://acme-v02.api.letsencrypt.org/directory" || w.Settings.TLS.Challenge != vm.ChallengeHTTP {
		t.Errorf("defaults are %+v, %v", w, err)
	}
}

func TestTLSSettingsAreRefused(t *testing.T) {
	const web = "services: { web: { image: nginx } }"
	tls := func(block string) string { return "x-secretvm: { images: tag, tls: " + block + " }\n" }
	for _, c := range []struct{ name, file, wantErr string }{
		{"no names", tls("{ }") + web, "line 1: tls has 0 names"},
		{"mistaken field", tls("{ name: [example.org] }") + web, `did you mean "names"?`},
		{"wildcard", tls("{ names: ['*.example.org'] }") + web, "list the names themselves"},
		{"address", tls("{ names: [192.0.2.1] }") + web, "no full DNS name"},
		{"one label", tls("{ names: [localhost] }") + web, "no full DNS name"},
		{"capitals", tls("{ names: [Example.org] }") + web, "in lower case"},
		{"email", tls("{ names: [example.org], email: 'me' }") + web, "tls.email: line 1: want one plain address"},
		{"email with more", tls(`{ names: [example.org], email: "a@example.org?x" }`) + web, "want one plain address"},
		{"plain http", tls("{ names: [example.org], ca: 'http://ca.example/dir' }") + web, "no https URL"},
		{"mistaken authority", tls("{ names: [example.org], ca: letsencript }") + web, `did you mean "letsencrypt"?`},
		{"mistaken challenge", tls("{ names: [example.org], challenge: http }") + web, "not one of http-01, tls-alpn-01"},
		{"DNS", tls("{ names: [example.org], challenge: dns-01 }") + web, "not one of http-01, tls-alpn-01"},
		{"roots", tls("{ names: [example.org], roots: none }") + web, "certificates in PEM"},
		{"mistaken service", tls("{ names: [example.org], services: [wep] }") + web, `did you mean "web"?`},
		{"another service's folder", tls("{ names: [example.org], services: [web] }") + "services: { web: { image: a }, db: { image: b, volumes: ['/run/secretvm/tls:/t'] } }", "service db: line 2: it mounts"},
		{"ephemeral", "x-secretvm: { images: tag, disk: { ephemeral: true }, tls: { names: [example.org] } }\n" + web, "needs a disk that lasts"},
		{
			"port 80 is the workload's", tls("{ names: [example.org] }") + "services: { web: { image: nginx, ports: ['80:8080'] } }",
			"port 80 of the machine (http-01), which service web publishes: leave 80 to the machine, which answers there and sends browsers on to https; or write challenge: tls-alpn-01",
		},
		{
			"both ports are", tls("{ names: [example.org], challenge: tls-alpn-01 }") + "services: { web: { image: nginx, ports: ['80:80', '443:443'] } }",
			"write challenge: http-01 and leave 80 to the machine",
		},
		{"folder without a block", "services: { web: { image: nginx, volumes: ['/run/secretvm/tls:/tls'] } }", "service web: line 1: it mounts /run/secretvm/tls, and is not among those"},
		{"a file of it", "services: { web: { image: nginx, volumes: [{ type: bind, source: /run/secretvm/tls/key.pem, target: /k }] } }", "services: [web]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.file), nil)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}
