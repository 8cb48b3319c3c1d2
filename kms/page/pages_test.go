package page_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	council "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/page"
	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web/chromium"
)

// hostile is what somebody writes into every text that is theirs.
const hostile = `</bdi><script>document.title="owned"</script><img src=x onerror=alert(1)>`

// populate makes a service with something of every kind, and others.
func populate(t *testing.T, s *station) (service string) {
	t.Helper()
	day := uint64(24 * 60 * 60)
	owner, service := s.Made.Owner, s.Made.Owner+"/guestbook"
	first := s.config("guestbook", "services: {}\n", strings.Repeat("11", 16))
	second := s.config("guestbook", "services: {}\n# newer\n", strings.Repeat("22", 16))
	third := s.config("guestbook", "services: {}\n# bad\n", strings.Repeat("33", 16))
	unknown := s.config("guestbook", "services: {}\n# somebody's\n", strings.Repeat("44", 16))

	s.Send(&types.MsgCreateService{Owner: owner, Name: "guestbook"})
	s.Send(s.image(first, "secretvm v0.1.0, compose 77f7c3a0b12d"))
	must(t, s.boot(first))
	s.Send(s.image(third, hostile))
	s.Send(&types.MsgRevokeImage{Owner: owner, Service: service, Image: 1, Reason: "CVE-2026-1234 in the web server " + hostile})
	s.Send(&types.MsgSetPolicy{Owner: owner, Service: service, Policy: types.Policy{UpgradeDelay: 2 * day, TcbStatuses: []string{"SWHardeningNeeded"}, Advisories: []string{"INTEL-SA-00837"}}})
	s.Send(s.image(second, "secretvm v0.2.0, compose 0b7c3a0b12dd"))
	sealed, err := keys.Encrypt(rand.Reader, s.Made.GroupKey, keys.ID{Service: service, Scope: keys.ScopeService, Name: "env"}, []byte(`{"A":"hunter2"}`), nil)
	must(t, err)
	s.Send(&types.MsgSeal{Owner: owner, Service: service, Name: "env", Ciphertext: sealed},
		&types.MsgSetPolicy{Owner: owner, Service: service, Policy: types.Policy{UpgradeDelay: day, TcbStatuses: []string{"SWHardeningNeeded", "OutOfDate"}}})
	for cfg, want := range map[*vm.Config]vm.Code{&second: vm.CodePending, &third: vm.CodeRetired, &unknown: vm.CodeCompose} {
		if err := s.boot(*cfg); vm.CodeOf(err) != want {
			t.Fatalf("a machine that must be refused with %s: %v", want, err)
		}
	}
	for range 12 { // so that there is a second page
		must(t, s.boot(first))
	}

	// Others: a frozen one, one that nobody can use, one of a council, and many.
	s.Send(&types.MsgCreateService{Owner: owner, Name: "frozen"}, &types.MsgFreeze{Owner: owner, Service: owner + "/frozen"}, &types.MsgCreateService{Owner: owner, Name: "empty"})
	s.Send(&council.MsgCreateCouncil{Creator: owner, Members: []string{owner}, Threshold: 1, Description: "the maintainers " + hostile})
	address, err := council.Address(0)
	must(t, err)
	s.Send(&types.MsgCreateService{Owner: owner, Name: "shared"}, &types.MsgTransfer{Owner: owner, Service: owner + "/shared", To: address})
	var many []sdk.Msg
	for i := range 60 {
		many = append(many, &types.MsgCreateService{Owner: owner, Name: fmt.Sprintf("many-%02d", i)})
	}
	s.Send(many...)
	return service
}

// TestPages reads every page of a node as a stranger does.
func TestPages(t *testing.T) {
	s := newStation(t)
	service := populate(t, s)
	owner := s.Made.Owner
	t.Run("content", func(t *testing.T) { testContent(t, s, service) })
	t.Run("follow every link", func(t *testing.T) { testLinks(t, s) })
	t.Run("the same by REST", func(t *testing.T) { testREST(t, s, service) })
	t.Run("refused", func(t *testing.T) {
		for path, want := range map[string]struct {
			status int
			text   string
		}{
			"/service/" + owner + "/none":                    {404, "No such service"},
			"/service/%3Cscript%3Ealert(1)%3C%2Fscript%3E/x": {404, "No such service"},
			"/service/x/": {404, "is no account of this chain"},
			"/service/" + owner + "/guestbook/secrets":       {404, "no such page"},
			"/service/" + owner + "/guestbook/grants/1":      {404, "no such page"},
			"/service/" + owner + "/guestbook/grants?from=!": {400, "no place in this list"},
			"/service/" + owner + "/none/grants":             {404, "No such service"},
			"/service/?from=" + strings.Repeat("A", 400):     {400, "no place in this list"},
		} {
			status, h, body := s.get(path)
			if status != want.status || !strings.Contains(body, want.text) || h.Get("Content-Security-Policy") != page.ContentSecurityPolicy {
				t.Errorf("%s: %d, want %d with %q:\n%s", path, status, want.status, want.text, body)
			}
			if strings.Contains(body, "<script") {
				t.Errorf("%s: the page has a script", path)
			}
		}
	})
	t.Run("in a browser", func(t *testing.T) { testBrowser(t, s, service) })
}

func testContent(t *testing.T, s *station, service string) {
	status, h, body := s.get("/service/" + service)
	if status != http.StatusOK || h.Get("Content-Security-Policy") != page.ContentSecurityPolicy || h.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", status, h)
	}
	for _, want := range []string{
		"DEVELOPMENT CHAIN", s.Made.GroupKey.String(), "pages-1", "1 of 1 nodes make keys", "Intel’s production roots",
		"secretvm v0.1.0, compose 77f7c3a0b12d", "secretvm v0.2.0, compose 0b7c3a0b12dd", "CVE-2026-1234", "&lt;script&gt;",
		"2 d</span> before it counts", "SWHardeningNeeded", "Upgrade delay: 1 d", "OutOfDate",
		"image-pending", "image-revoked", "compose-mismatch", "The compose file is not the one that is registered",
		"SOFT TEE", "All 13 grants", "one key", "Sealed content changed", "another content, which only the machines can read", strings.Repeat("44", 16),
		"sha256 " + vm.HashOf([]byte("services: {}\n")).String(),
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "hunter2") {
		t.Error("the page has a script, or a secret")
	}
	for path, want := range map[string]string{
		"/service/" + s.Made.Owner + "/frozen":             "Frozen: its images",
		"/service/" + s.Made.Owner + "/empty":              "no machine gets keys",
		"/service/" + s.Made.Owner + "/shared":             "a council: 1 of 1 members",
		"/service/" + service + "/refusals":                "3 different ones were ever recorded",
		"/service/" + s.Made.Owner + "/":                   "This account is one key",
		"/service/" + service + "/changes":                 "Image revoked",
		"/service/" + service + "/machines":                "newest grant",
		"/service/" + service + "/images":                  "revoked <time",
		"/service/" + service + "/grants?from=AAAAAAAAAAE": "generation 0", // the first two
	} {
		if status, _, body := s.get(path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, lacks %q", path, status, want)
		}
	}
}

// TestK6_WhatWaitsIsOnThePage: what an owner wants to change, or who has the
// owner's key, is on the page before it counts, with the time.
func TestK6_WhatWaitsIsOnThePage(t *testing.T) {
	s := newStation(t)
	service, day := s.Made.Owner+"/web", uint64(24*60*60)
	sealed, err := keys.Encrypt(rand.Reader, s.Made.GroupKey, keys.ID{Service: service, Scope: keys.ScopeService, Name: "env"}, []byte("{}"), nil)
	must(t, err)
	s.Send(&types.MsgCreateService{Owner: s.Made.Owner, Name: "web", Policy: &types.Policy{UpgradeDelay: 2 * day}},
		s.image(s.config("web", "one", strings.Repeat("11", 16)), "one"))
	if _, _, body := s.get("/service/" + service); strings.Contains(body, "<h2>Announced</h2>") {
		t.Error("the first image is announced")
	}
	s.Send(s.image(s.config("web", "two", strings.Repeat("11", 16)), "two"),
		&types.MsgSeal{Owner: s.Made.Owner, Service: service, Name: "env", Ciphertext: sealed},
		&types.MsgSetPolicy{Owner: s.Made.Owner, Service: service, Policy: types.Policy{UpgradeDelay: day}})
	_, _, body := s.get("/service/" + service)
	_, announced, found := strings.Cut(body, "<h2>Announced</h2>")
	announced, _, closed := strings.Cut(announced, "</section>")
	if !found || !closed {
		t.Fatal("nothing is announced")
	}
	for _, want := range []string{"Image 1", "Policy", "Environment"} {
		if !strings.Contains(announced, want) {
			t.Errorf("%s is not announced: %s", want, announced)
		}
	}
	if n := len(regexp.MustCompile(`from <time datetime="20\d\d-[^"]*Z">[0-9: -]* UTC</time>, <span class="nb">in [12] d`).FindAllString(announced, -1)); n != 3 {
		t.Errorf("%d announcements have a time, want 3: %s", n, announced)
	}
}

// testREST: whatever a page shows a stranger can read as JSON, and the OpenAPI
// document says where.
func testREST(t *testing.T, s *station, service string) {
	_, _, openapi := s.get("/openapi.json")
	for path, want := range map[string]string{
		"/secretvm/kms/v1/service?service=" + service:                                          `"upgrade_delay":"172800"`,
		"/secretvm/kms/v1/services?owner=" + s.Made.Owner + "&pagination.limit=3":              `"next_key":"`,
		"/secretvm/kms/v1/images?service=" + service:                                           `"state":"pending"`,
		"/secretvm/kms/v1/image?service=" + service + "&image=1":                               `"state":"revoked"`,
		"/secretvm/kms/v1/platforms?service=" + service + "&image=0":                           `"shape":"2 vCPU 4 GiB"`,
		"/secretvm/kms/v1/sealed?service=" + service + "&name=env":                             `"ciphertext":"`,
		"/secretvm/kms/v1/changes?service=" + service + "&pagination.reverse=true":             `"kind":"policy"`,
		"/secretvm/kms/v1/grants?service=" + service + "&pagination.limit=2":                   `"tee":"soft"`,
		"/secretvm/kms/v1/refusals?service=" + service:                                         `"code":"image-pending"`,
		"/secretvm/kms/v1/instances?service=" + service:                                        `"vm_uid":"` + strings.Repeat("11", 16),
		"/secretvm/kms/v1/instance?service=" + service + "&vm_uid=" + strings.Repeat("11", 16): `"granted_at":"`,
		"/secretvm/kms/v1/params":                                                              `"trust_roots":`,
		"/secretvm/committee/v1/epochs":                                                        `"commitments":`,
		"/secretvm/committee/v1/nodes":                                                         `"relay":"`,
		"/secretvm/committee/v1/params":                                                        `"authority":"`,
		"/secretvm/council/v1/councils?member=" + s.Made.Owner:                                 "the maintainers",
		"/cosmos/auth/v1beta1/accounts/" + s.Made.Owner:                                        "secp256k1",
		"/cosmos/base/tendermint/v1beta1/blocks/latest":                                        `"chain_id":"pages-1"`,
		"/secretvm/light/v1/block":                                                             `"block":"`,
	} {
		status, h, body := s.get(path)
		if status != http.StatusOK || h.Get("Content-Type") != "application/json" || !strings.Contains(body, want) {
			t.Errorf("%s: %d, lacks %s:\n%.600s", path, status, want, body)
		}
		method, _, _ := strings.Cut(path, "?")
		if method = strings.Replace(method, "accounts/"+s.Made.Owner, "accounts/{address}", 1); !strings.Contains(openapi, `"`+method+`":`) {
			t.Errorf("the OpenAPI document lacks %s", method)
		}
	}
}

// testLinks opens whatever pages and answers the pages link to, from the index
// on: each is there, and every service is reached.
func testLinks(t *testing.T, s *station) {
	link := regexp.MustCompile(`href="([^"]+)"`)
	seen, queue := map[string]bool{"/": true}, []string{"/"}
	services := 0
	for len(queue) > 0 && len(seen) < 1000 {
		path := queue[0]
		queue = queue[1:]
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.API+path, nil)
		must(t, err)
		status, _, body := s.get(path)
		if status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
		if strings.Count(path, "/") == 3 && strings.HasPrefix(path, "/service/") && !strings.Contains(path, "?") && !strings.HasSuffix(path, "/") {
			services++
		}
		base := req.URL
		if path == "/" {
			base = base.JoinPath("service/")
		}
		for _, found := range link.FindAllStringSubmatch(body, -1) {
			target, err := base.Parse(strings.ReplaceAll(found[1], "&amp;", "&"))
			if err != nil || target.Scheme == "data" {
				continue
			}
			if next := target.RequestURI(); !seen[next] {
				if target.Host != base.Host {
					t.Errorf("%s links to %s", path, target)
				}
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	if services != 64 {
		t.Errorf("links lead to %d services, want 64", services)
	}
}

// testBrowser opens the pages at the width of a phone and of a desktop, light
// and dark. SECRETVM_SCREENSHOTS=<folder> keeps what it saw.
func testBrowser(t *testing.T, s *station, service string) {
	b := chromium.Start(t)
	for name, p := range map[string]struct{ path, heading string }{
		"service": {"/service/" + service, service},
		"frozen":  {"/service/" + s.Made.Owner + "/frozen", s.Made.Owner + "/frozen"},
		"shared":  {"/service/" + s.Made.Owner + "/shared", s.Made.Owner + "/shared"},
		"grants":  {"/service/" + service + "/grants", "Grants"},
		"index":   {"/service/", "Services"},
		"none":    {"/service/" + s.Made.Owner + "/none", "No such service"},
	} {
		for _, look := range chromium.Looks {
			if first := name == "service" || name == "index"; !first && (look.Scheme == "light") != (look.Width < 500) {
				continue // two looks do for the others
			}
			b.Read(s.API+p.path, p.heading, look, name+"-"+look.Name)
			if got := b.Text("document.title"); strings.Contains(got, "owned") {
				t.Errorf("%s: a script of an owner ran", name)
			}
		}
	}
	b.Look(1280, "light")
	b.Open(s.API + "/service/" + service)
	b.Evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
	if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
		b.Screenshot(filepath.Join(folder, "service-opened.png"))
	}
	var complaints []string
	for _, c := range b.Complaints {
		if !strings.Contains(c, "404") { // that there is no such service
			complaints = append(complaints, c)
		}
	}
	if len(complaints) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
	}
}
