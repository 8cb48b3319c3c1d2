package page

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	council "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// full is a service's page with text of every kind, all of it s.
func full(s string) serviceView {
	chain := chainView{Root: "../../", ID: s, Height: 7, Now: 1_800_000_000, Epochs: []epochView{{Number: 0, GroupKey: "ab", Threshold: 3, Nodes: 4, Unseen: []uint32{1, 3}}, {Number: 1}}, Roots: []vm.Anchor{{Subject: s}}}
	image := func(index uint64, revoked int64) imageView {
		return imageView{Now: chain.Now, First: &types.Platform{Tee: "tdx", Mrtd: []byte{1}, Shape: s}, Image: types.Image{
			Index: index, Description: s, AddedBy: s, Revocation: s, RevokedAt: revoked, ActiveAt: chain.Now + int64(index)*90_000, Rtmr1: []byte{2}, Platforms: 3,
		}}
	}
	v := serviceView{
		chainView: chain,
		Service:   types.Service{Id: s, Name: s, Height: 3},
		Counters:  types.Counters{Images: 300, Grants: 11, Refusals: 65, Changes: 12},
		Owner:     party{Address: s, Council: &council.Council{Description: s, Members: []string{s}, Threshold: 1}},
		Policy:    policyRows(types.Policy{}), Delay: 172_800,
		Pending: &types.PendingPolicy{ActiveAt: chain.Now + 60, Policy: types.Policy{UpgradeDelay: 60, TcbStatuses: []string{s}, Advisories: []string{s}, Hardware: &types.Hardware{Ids: []string{s}}}},
		Images:  []imageView{image(0, 0), image(1, 0), image(2, 5)},
		Sealed:  []sealedView{{s, &types.Sealed{Ciphertext: []byte{1}}, &types.Sealed{}}},
		Grants:  part[types.Grant]{[]types.Grant{{VmUid: s, Tee: s, TcbStatus: s, HardwareId: s, Anchor: types.TrustAnchor{Subject: s}, Keys: []types.KeyID{{Name: s}}}}, s},
		Refusals: part[types.Refusal]{[]types.Refusal{
			{VmUid: s, Code: s, Field: s, Found: s, Wanted: s, Reason: s, Hint: s, Count: 3},
			{Code: string(vm.CodeDebug), Reason: s},
		}, s},
		Changes:  part[types.Change]{[]types.Change{{By: s, Kind: s, Detail: s, Time: 5, ActiveAt: 9}}, s},
		Machines: part[types.Instance]{[]types.Instance{{VmUid: s, Generation: 4, GrantedAt: 6, Rollback: &types.Rollback{From: 4, To: 3, Time: 7}}}, s},
	}
	return v
}

// views are all kinds of pages, with s wherever somebody else may write.
func views(s string) map[string]shown {
	f := full(s)
	list := listView{chainView: f.chainView, Service: s, Name: s, Kind: "refusals", Title: s, Begun: true, Next: s, Images: f.Images, Grants: f.Grants.Rows, Refusals: f.Refusals.Rows, Changes: f.Changes.Rows, Machines: f.Machines.Rows}
	return map[string]shown{
		"service.html": f, "list.html": list,
		"index.html":   indexView{chainView: f.chainView, Owner: &party{Address: s}, Services: []indexRow{{types.Service{Id: s, Owner: s, FrozenAt: 1}, types.Counters{}}}, Begun: true, Next: s},
		"refused.html": refusedView{chainView: f.chainView, Title: s, Reason: s},
	}
}

// TestA4_ServicePagesEscape puts hostile text wherever an owner, a machine or a
// reader's URL can bring it.
func TestA4_ServicePagesEscape(t *testing.T) {
	const hostile = `</bdi></code><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "\xff\x00\u202etxt.exe"
	benign := views("x")
	for name, v := range views(hostile) {
		b, err := render(name, v)
		if err != nil {
			t.Fatal(err)
		}
		html := string(b)
		for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", `href="javascript`, "style=", "\u202e", "\x00"} {
			if strings.Contains(html, bad) {
				t.Errorf("%s contains %q", name, bad)
			}
		}
		if want := map[string]int{"service.html": 25, "list.html": 15}[name]; strings.Count(html, "&lt;script&gt;") < max(2, want) {
			t.Errorf("%s: the hostile text appears escaped %d times: the test no longer reaches every value", name, strings.Count(html, "&lt;script&gt;"))
		}
		plain, err := render(name, benign[name])
		if err != nil {
			t.Fatal(err)
		}
		if got, want := elements(html), elements(string(plain)); got != want {
			t.Errorf("%s: hostile values change the page's elements:\n%s\n%s", name, got, want)
		}
	}
}

func elements(html string) string {
	return strings.Join(regexp.MustCompile(`</?[a-zA-Z][a-zA-Z0-9]*`).FindAllString(html, -1), "")
}

// TestServicePageSays holds what a reader must find.
func TestServicePageSays(t *testing.T) {
	v := full("svm1owner")
	v.Images[0].ActiveAt, v.Images[0].AddedAt = 0, 0
	b, err := render("service.html", v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"DEVELOPMENT CHAIN", "2 d</span> before it counts", "2027-01-16 09:00:00 UTC", "in 1 d 1 h", "from <time", "Upgrade delay: 1 min",
		"a council: 1 of 1 members", "3 of 4 nodes make keys", "No evidence of what nodes 1, 3 run", "The machine can be debugged", "3 times", "SOFT TEE", "went back from generation 4 to 3",
		"All 300 images", "All 11 grants", "All that the ledger keeps", "All 12 changes", "1 active", "1 pending",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"unsafe", "script-src", "*", "http"} {
		if strings.Contains(ContentSecurityPolicy, bad) {
			t.Errorf("policy %q contains %q", ContentSecurityPolicy, bad)
		}
	}
}

// TestPageWithoutChain: before the first block there is nothing to say of the
// chain, and nothing is said.
func TestPageWithoutChain(t *testing.T) {
	status, title := statusOf(vm.CodeUnavailable)
	b, err := render("refused.html", refusedView{chainView: chainView{Root: "../"}, Title: title, Reason: "the chain has no block yet"})
	if err != nil || status != 503 {
		t.Fatal(status, err)
	}
	for text, want := range map[string]bool{"Not yet": true, "the chain has no block yet": true, `href="../service/"`: true, "DEVELOPMENT": false, "Group key": false} {
		if strings.Contains(string(b), text) != want {
			t.Errorf("the page has %q: %v, want %v", text, !want, want)
		}
	}
}

// TestEveryCodeHasAMeaning holds the table against package vm's source.
func TestEveryCodeHasAMeaning(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../vm/refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := meanings[vm.Code(code)]; !ok {
			t.Errorf("code %s has no meaning", code)
		}
		found++
		return true
	})
	if found != len(meanings) {
		t.Errorf("%d codes and %d meanings", found, len(meanings))
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[uint64]string{
		0: "none", 59: "59 s", 61: "1 min 1 s", 3600: "1 h", 86_400 + 59: "1 d", 172_800: "2 d", 90_000: "1 d 1 h", 1 << 63: "9223372036854775808 s",
	} {
		if got := span(seconds); got != want {
			t.Errorf("span(%d) = %q, want %q", seconds, got, want)
		}
	}
	if got := left(5, 9); got != "now" {
		t.Errorf("what is over: %q", got)
	}
}

func FuzzBegin(f *testing.F) {
	f.Add("AAAAAAAAAAE")
	f.Add("!")
	f.Fuzz(func(t *testing.T, from string) {
		if b, err := begin(from); err == nil && len(b) > maxFrom {
			t.Errorf("%d bytes", len(b))
		}
	})
}
