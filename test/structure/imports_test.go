// Package structure holds the tests of the tree itself: which way imports
// point, how long files are, what the guest trusts.
package structure

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/secretvm/secretvm"

// rule says what a package, or a whole folder ("kms/..."), must not reach,
// directly or through others, and why.
type rule struct {
	from, not, why string
}

// The table of ARCHITECTURE.md, as far as it forbids.
var rules = []rule{
	{"vm", module + "/...", "every other package imports it"},
	{"step", module + "/...", "every process is a list of steps"},
	{"configdisk", module + "/compose", "a guest reads what it measured without a parser of YAML"},
	{"cmd/guest-init", module + "/compose", "a guest reads what it measured without a parser of YAML"},
	{"cmd/guestd", module + "/compose", "the process that runs the workload reads what people wrote"},
	{"compose", module + "/kms/...", "leaves stay leaves"},
	{"compose", module + "/host/...", "leaves stay leaves"},
	{"keys/...", module + "/kms/...", "leaves stay leaves"},
	{"keys/...", module + "/host/...", "leaves stay leaves"},
	{"keys", "filippo.io/age", "the guest links it, and recovery is not its business"},
	{"tee", module + "/kms/...", "leaves stay leaves"},
	{"tee", module + "/host/...", "leaves stay leaves"},
	{"disk/...", module + "/kms/...", "leaves stay leaves"},
	{"disk/...", module + "/host/...", "leaves stay leaves"},
	{"measure/...", "net", "a prediction is a pure function"},
	{"measure/...", "os/exec", "a prediction is a pure function"},
	{"measure/...", module + "/host/...", "a prediction asks nobody: what QEMU says is packed beforehand"},
	{"measure/...", module + "/image/...", "a prediction takes files, whoever made them"},
	{"attest/...", module + "/tee/...", "a verifier needs no device"},
	{"attest/...", module + "/measure/...", "a verifier needs no builder"},
	{"attest/...", module + "/image/...", "a verifier needs no builder"},
	{"attest/...", module + "/endorsement/...", "what is fetched is judged like anything else: bytes in"},
	{"verification", module + "/endorsement/...", "a browser runs it, and a verdict asks nobody"},
	{"kms/...", module + "/endorsement/...", "a chain asks nobody: collateral comes with the request"},
	{"guest/...", module + "/endorsement/...", "what the guest trusts stays small"},
	{"web/verifier", "net/http", "it runs in a page, which asks nobody but whom its visitor names"},
	{"web/verifier", module + "/kms/...", "visitors load it"},
	{"web/verifier", module + "/image/...", "visitors load it"},
	{"cmd/...", module + "/attest/nvidia/nvidiatest", "it forges evidence, for tests only"},
	{"cmd/...", module + "/guest/certificate/certificatetest", "an authority for tests only"},
	{"cmd/...", module + "/guest/ipc/ipctest", "for tests only"},
	{"cmd/...", module + "/kms/decision/decisiontest", "for tests only"},
	{"cmd/...", module + "/guest/gpu/nvml/nvmltest", "a library for tests only"},
	{"cmd/guestd", module + "/guest/attestd", "strangers speak with a process of their own"},
	{"cmd/guestd", module + "/guest/certificate", "authorities do, too"},
	{"cmd/guestd", module + "/guest/network/dhcp", "what the host answers as a server of DHCP is read by a process without rights"},
	{"cmd/guestd", "github.com/insomniacslk/dhcp/...", "what the host answers as a server of DHCP is read by a process without rights"},
	{"cmd/guestd", module + "/web", "pages are for strangers"},
	{"guest/attestd", module + "/guest/certificate", "who speaks with strangers has no key of the workload's"},
	{"guest/attestd", module + "/tee/...", "who speaks with strangers gets quotes by what they are for"},
	{"guest/attestd", module + "/guest/runtime", "guestd is another process"},
	{"cmd/guestd", module + "/guest/gpu/nvml", "what another vendor made is opened in a process of its own"},
	{"cmd/guestd", module + "/attest/nvidia", "the key manager judges GPUs"},
	{"cmd/guestd", module + "/guest/api", "a process of its own answers containers"},
	{"cmd/guestd", module + "/guest/workload", "a process of its own drives the container engine"},
	{"cmd/guestd", module + "/guest/gate", "a process of its own speaks with docker compose"},
	{"cmd/guestd", module + "/guest/egress", "a process of its own answers containers' names"},
	{"cmd/guestd", module + "/kms/...", "what nodes and hosts answer is read by a process without rights"},
	{"cmd/guestd", module + "/keys/...", "what nodes and hosts answer is read by a process without rights"},
	{"peer", module + "/tee/...", "a verifier needs no device"},
	{"peer", module + "/image/...", "a verifier needs no builder"},
	{"kms/client", module + "/kms/chain/...", "the guest links the client, and what it links stays small"},
	{"kms/secretnetwork", module + "/kms/chain/...", "the guest links it, and what it links stays small"},
	{"kms/client", "github.com/cosmos/cosmos-sdk/...", "the guest links the client, and what it links stays small"},
	{"guestapi", module + "/guest/...", "containers link it"},
	{"guestapi", module + "/keys", "containers link it"},
	{"guestapi", module + "/attest/...", "containers link it"},
	{"guestapi", module + "/kms/...", "containers link it"},
	{"guest/...", module + "/host/...", "a guest never needs its host"},
	{"guest/...", module + "/image/...", "a guest never needs its host"},
	{"guest/...", module + "/measure/...", "a guest never needs its host"},
	{"cmd/guest-init", module + "/host/...", "a guest never needs its host"},
	{"cmd/guestd", module + "/host/...", "a guest never needs its host"},
	{"host/...", module + "/keys", "the host is the adversary; its code must not be able to hold a secret"},
	{"host/...", module + "/kms/chain/...", "the host is the adversary; its code must not be able to hold a secret"},
	{"host/...", module + "/kms/node/...", "the host is the adversary; its code must not be able to hold a secret"},
}

// directRules forbid only what a package's own files import: its libraries
// may well need it (crypto/x509 imports net and time, for example).
var directRules = []rule{
	{"attest/...", "net", "the chain runs this code: bytes in, verdict out"},
	{"attest/...", "net/http", "the chain runs this code: bytes in, verdict out"},
	{"attest/...", "os", "the chain runs this code: bytes in, verdict out"},
	{"attest/nvidia/...", "encoding/xml", "it reads more than the strict profile of reference documents"},
	{"attest/...", "math/rand", "the chain runs this code: the same everywhere"},
	{"peer", "net", "what it recognises machines by comes from the caller: nothing is fetched"},
	{"peer", "os", "what it recognises machines by comes from the caller: nothing is built in or found"},
	{"keys/...", "net", "pure: bytes in, keys out"},
	{"keys/...", "os", "pure: bytes in, keys out"},
	{"keys/...", "math/rand", "randomness comes in, and is crypto/rand's"},
	{"verification", "net/http", "a browser runs this code: bytes in, report out (verification/fetch has the network)"},
	{"verification", "os", "a browser runs this code: bytes in, report out"},
	{"verification/exhibit", "os", "a browser runs this code: bytes in, text out"},
	{"policy", "os", "a browser runs this code: whoever calls it reads the files"},
	{"kms/chain/x/...", "net", "consensus code"},
	{"kms/chain/x/...", "math/rand", "consensus code"},
	{"kms/chain/x/...", "os/exec", "consensus code"},
}

func TestImportsPointOneWay(t *testing.T) {
	deps := list(t, "{{.ImportPath}} {{join .Deps \" \"}}")
	for _, r := range rules {
		check(t, r, deps)
	}
	direct := list(t, "{{.ImportPath}} {{join .Imports \" \"}}")
	for _, r := range directRules {
		check(t, r, direct)
	}
}

func check(t *testing.T, r rule, imports map[string][]string) {
	t.Helper()
	found := false
	for pkg, deps := range imports {
		if !matches(module+"/"+r.from, pkg) {
			continue
		}
		found = true
		for _, dep := range deps {
			if dep != pkg && matches(r.not, dep) && !sameTree(r, dep) {
				t.Errorf("%s reaches %s: %s", pkg, dep, r.why)
			}
		}
	}
	if !found {
		t.Errorf("no package %s: the rule protects nothing", r.from)
	}
}

// sameTree lets packages of a folder that must not import "the module" import
// one another.
func sameTree(r rule, dep string) bool { return matches(module+"/"+r.from, dep) }

// matches reports whether pkg is pattern, or lies below it when it ends in /... .
func matches(pattern, pkg string) bool {
	folder, below := strings.CutSuffix(pattern, "/...")
	return pkg == folder || below && strings.HasPrefix(pkg, folder+"/")
}

func TestNothingCallsTimeNowInAttest(t *testing.T) {
	for _, dir := range []string{"attest", "keys", "measure"} {
		for _, file := range goFiles(t, dir) {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if text := read(t, file); strings.Contains(text, "time.Now(") {
				t.Errorf("%s calls time.Now: time is an argument there", file)
			}
		}
	}
}

// list runs go list over the tree and returns, by import path, the words that
// the format gives.
func list(t *testing.T, format string, args ...string) map[string][]string {
	t.Helper()
	if len(args) == 0 {
		args = []string{"./..."}
	}
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		got[words[0]] = words[1:]
	}
	return got
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, pkg string
		want         bool
	}{
		{"net", "net", true},
		{"net", "net/http", false},
		{"a/b/...", "a/b", true},
		{"a/b/...", "a/b/c", true},
		{"a/b/...", "a/bc", false},
	} {
		if got := matches(tt.pattern, tt.pkg); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.pattern, tt.pkg, got)
		}
	}
}
