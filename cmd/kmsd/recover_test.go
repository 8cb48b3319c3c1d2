package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// asKeygen makes the test binary be age-keygen, which computers of the drill
// have and those of tests may not.
const asKeygen = "SECRETVM_TEST_AS_KEYGEN"

// keygen is age-keygen -pq -o FILE and age-keygen -y FILE.
func keygen(args []string) int {
	if len(args) == 2 && args[0] == "-y" {
		f, err := os.Open(args[1])
		if err != nil {
			return 1
		}
		identities, err := age.ParseIdentities(f)
		if err != nil || len(identities) != 1 {
			return 1
		}
		fmt.Println(identities[0].(*age.HybridIdentity).Recipient())
		return 0
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil || len(args) != 3 || args[0] != "-pq" || args[1] != "-o" {
		return 2
	}
	if err := os.WriteFile(args[2], []byte("# public key: "+id.Recipient().String()+"\n"+id.String()+"\n"), 0o600); err != nil {
		return 1
	}
	return 0
}

// terminal is a shell in which somebody follows the drill.
type terminal struct {
	t     *testing.T
	dir   string
	in    io.Writer
	out   *bufio.Reader
	count int
}

// newTerminal opens a shell whose kmsd and age-keygen are this program's.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	for name, as := range map[string]string{"kmsd": asKmsd, "age-keygen": asKeygen} {
		script := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", as, os.Args[0])
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
	}
	shell := exec.Command("bash")
	shell.Dir, shell.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := shell.StdinPipe()
	must(t, err)
	out, err := shell.StdoutPipe()
	must(t, err)
	shell.Stderr = shell.Stdout
	must(t, shell.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
		_ = shell.Wait()
	})
	return &terminal{t: t, dir: dir, in: in, out: bufio.NewReader(out)}
}

// type types lines, and fails if one of them does.
func (s *terminal) follow(lines string) string {
	s.t.Helper()
	s.count++
	mark := fmt.Sprintf("__step_%d__", s.count)
	begin := time.Now()
	_, err := fmt.Fprintf(s.in, "set -e; trap 'echo %s failed' EXIT\n%s\ntrap - EXIT; set +e; echo %s done\n", mark, lines, mark)
	must(s.t, err)
	var said strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if before, state, ok := strings.Cut(line, mark+" "); ok {
			said.WriteString(before)
			if strings.TrimSpace(state) != "done" {
				s.t.Fatalf("step %d failed:\n%s\n%s", s.count, lines, said.String())
			}
			s.t.Logf("step %d: %s", s.count, time.Since(begin).Round(100*time.Millisecond))
			return said.String()
		}
		said.WriteString(line)
		if err != nil {
			s.t.Fatalf("step %d: the shell ended: %v\n%s\n%s", s.count, err, lines, said.String())
		}
	}
}

// steps are the commands of a document, on other ports.
func steps(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	base := 20000 + os.Getpid()%20000
	ports := regexp.MustCompile(`\b29[34]\d\d\b`)
	var out []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		out = append(out, ports.ReplaceAllStringFunc(block[1], func(p string) string {
			n, err := strconv.Atoi(p)
			must(t, err)
			return strconv.Itoa(base + n - 29380)
		}))
	}
	return out
}

// TestK10_RecoveryDrill follows docs/recovery.md with real processes. All nodes are
// lost; two of three people and a copy of the public state bring the chain back:
// same keys, same history, same disk generations, and not without what it takes.
func TestK10_RecoveryDrill(t *testing.T) {
	pki, err := emulator.NewPKI(time.Now())
	must(t, err)
	s := newTerminal(t)
	at := func(name string) string { return filepath.Join(s.dir, name) }
	must(t, os.WriteFile(at("dev-root.pem"), pki.RootPEM(), 0o600))
	all := steps(t, "../../docs/recovery.md")
	if len(all) != 9 {
		t.Fatalf("the drill has %d steps", len(all))
	}
	k := &kmsd{t: t, home: at("kms/node1"), pki: pki}

	// A chain with a machine that has been up once.
	s.follow(all[0])
	s.follow(all[1])
	var before wire.Status
	k.run(0, &before, "status")
	owner, err := node.Home(k.home).Owner()
	must(t, err)
	cfg := k.register(node.Made{Owner: owner.Address, ChainID: before.ChainID, GroupKey: before.GroupKey})
	key, session := k.disk(everywhere(before), cfg)
	must(t, session.Advance(t.Context(), 1))
	if said := s.follow(all[2]); !strings.Contains(said, "pieces [1] open and are right") || !strings.Contains(said, "pieces [2] open") {
		t.Errorf("opened: %s", said)
	}
	var refused vm.Refusal
	k.strangers(at("stranger.key"))
	k.run(1, &refused, "backup", "open", "--identity", at("stranger.key"))
	if refused.Code != vm.CodePermission {
		t.Errorf("a stranger's pieces: %+v", refused)
	}
	ownerKey, err := os.ReadFile(at("kms/node1/keys/owner.json")) // the authority keeps its key elsewhere
	must(t, err)

	// The nodes are lost; export, plan, deal.
	for _, step := range all[3:7] {
		s.follow(step)
	}
	s.resists(pki)

	// The chain goes on.
	if said := s.follow(all[7]); strings.Count(said, "genesis    sha256 ") < 4 {
		t.Errorf("said: %s", said)
	}
	k = &kmsd{t: t, home: at("new1"), pki: pki}
	must(t, os.WriteFile(at("new1/keys/owner.json"), ownerKey, 0o600))
	var after wire.Status
	k.run(0, &after, "status")
	if !after.GroupKey.Equal(before.GroupKey) || after.ChainID != before.ChainID || after.Height <= before.Height || after.Threshold != 3 || len(after.Nodes) != 4 {
		t.Errorf("status was %+v and is %+v", before, after)
	}
	again, session := k.disk(everywhere(after), cfg)
	if again != key || session.Grant().Generation != 1 {
		t.Errorf("the same key: %t; generation %d, want 1", again == key, session.Grant().Generation)
	}
	var log wire.Log
	k.run(0, &log, "query", "kms", "log", "web")
	if len(log.Grants) != 2 {
		t.Errorf("%d grants are on the ledger, want that of before and that of now", len(log.Grants))
	}
	k.run(0, nil, "tx", "kms", "create-service", "later")

	// Soon the pieces are of the new nodes' own shares.
	var states []state
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		k.run(0, &states, "backup", "verify")
		if states[0].Current {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the new shares are not backed up: %+v", states)
		}
	}
	k.run(0, nil, "backup", "open", "--identity", at("bob.key"))
	k.run(0, new(proven), "query", "kms", "service", "web", "--prove")
	s.follow(all[8])
}

// everywhere is where the nodes of a chain answer.
func everywhere(status wire.Status) string {
	var urls []string
	for _, n := range status.Nodes {
		urls = append(urls, n.API)
	}
	return strings.Join(urls, ",")
}

// strangers writes an identity that nobody knows.
func (k *kmsd) strangers(path string) {
	k.t.Helper()
	id, err := age.GenerateX25519Identity()
	must(k.t, err)
	must(k.t, os.WriteFile(path, []byte(id.String()+"\n"), 0o600))
}

// resists tries to recover with less than it takes, or something else.
func (s *terminal) resists(pki *emulator.PKI) {
	t := s.t
	t.Helper()
	at := func(name string) string { return filepath.Join(s.dir, name) }
	k := &kmsd{t: t, home: at("new1"), pki: pki}
	refused := func(what string, code vm.Code, words string, args ...string) {
		t.Helper()
		var r vm.Refusal
		k.run(1, &r, args...)
		if r.Code != code || !strings.Contains(r.Reason, words) || r.Hint == "" && code != vm.CodeInvalid && code != vm.CodeMalformed {
			t.Errorf("%s: %+v, want %s with %q", what, r, code, words)
		}
	}
	export, err := os.ReadFile(at("export.json"))
	must(t, err)
	hash := vm.HashOf(export).String()
	files := []string{"--export", at("export.json"), "--plan", at("plan.json")}
	refused("one of two deals", vm.CodeInvalid, "deals of 1 members are there, and 2 are needed", append([]string{"recover", "install", "--deal", at("deal-alice.json")}, files...)...)
	refused("one deal twice", vm.CodeInvalid, "deals of 1 members", append([]string{"recover", "install", "--deal", at("deal-alice.json"), "--deal", at("deal-alice.json")}, files...)...)
	refused("a stranger's identity", vm.CodePermission, "no piece", append([]string{"recover", "deal", "--trusted-hash", hash, "--identity", at("stranger.key"), "--output", at("deal-stranger.json")}, files...)...)

	// Somebody puts another image into the export.
	altered := bytes.Replace(export, []byte(`"test"`), []byte(`"evil"`), 1)
	if bytes.Equal(altered, export) {
		t.Fatal("the export has no image to alter")
	}
	must(t, os.WriteFile(at("altered.json"), altered, 0o600))
	refused("altered export", vm.CodeSignature, "another export", "recover", "deal", "--export", at("altered.json"), "--plan", at("plan.json"), "--trusted-hash", hash, "--identity", at("bob.key"), "--output", at("x"))
	refused("plan of another export", vm.CodeSignature, "another export", "recover", "deal", "--export", at("altered.json"), "--plan", at("plan.json"), "--trusted-hash", vm.HashOf(altered).String(), "--identity", at("bob.key"), "--output", at("x"))

	// … and passes the members' deals off as deals for it: they do not open.
	nodes := []string{}
	for i := 1; i <= 4; i++ {
		nodes = append(nodes, "--node", at(fmt.Sprintf("new%d/successor.json", i)))
	}
	k.run(0, nil, append([]string{"recover", "plan", "--export", at("altered.json"), "--plan", at("plan-altered.json")}, nodes...)...)
	with := []string{"--export", at("altered.json"), "--plan", at("plan-altered.json")}
	install := append([]string{"recover", "install", "--deal", at("deal-alice.json"), "--deal", at("deal-carol.json")}, with...)
	refused("deals for another plan", vm.CodeInvalid, "another plan", install...)
	b, err := os.ReadFile(at("plan-altered.json"))
	must(t, err)
	plan, err := node.ReadPlan(b)
	must(t, err)
	digest, err := plan.Digest()
	must(t, err)
	for _, who := range []string{"alice", "carol"} {
		var d node.Deals
		b, err := os.ReadFile(at("deal-" + who + ".json"))
		must(t, err)
		must(t, json.Unmarshal(b, &d))
		d.Plan = digest
		must(t, writeJSON(at("forged-"+who+".json"), d))
	}
	refused("deals passed off as others", vm.CodeInvalid, "is wrong", append([]string{"recover", "install", "--deal", at("forged-alice.json"), "--deal", at("forged-carol.json")}, with...)...)

	// Too few backups, and none.
	refused("too few backups", vm.CodeInvalid, "3 are needed", append([]string{"recover", "plan", "--export", at("export.json"), "--plan", at("x"), "--without", "1,2"}, nodes...)...)
	k.home = at("new5")
	k.run(0, nil, "recover", "prepare")
	refused("a node that is not planned", vm.CodeInvalid, "not a node of this plan", append([]string{"recover", "install", "--deal", at("deal-alice.json"), "--deal", at("deal-carol.json")}, files...)...)
	refused("prepared twice", vm.CodeExists, "already", "recover", "prepare")
	var states []state
	k.run(0, &states, "backup", "verify", "--export", at("export.json"))
	if len(states) != 1 || !states[0].Recoverable || states[0].Threshold != 2 || states[0].Members != 3 {
		t.Errorf("states are %+v", states)
	}
	k.run(0, nil, "backup", "open", "--export", at("export.json"), "--identity", at("carol.key"))
	var doc map[string]any
	read := json.NewDecoder(bytes.NewReader(export))
	read.UseNumber()
	must(t, read.Decode(&doc))
	doc["app_state"].(map[string]any)["committee"].(map[string]any)["backed"] = []any{}
	must(t, writeJSON(at("bare.json"), doc))
	refused("no backups", vm.CodeInvalid, "could not be recovered", "backup", "verify", "--export", at("bare.json"))
	refused("plan without backups", vm.CodeInvalid, "nobody keeps enough backups", append([]string{"recover", "plan", "--export", at("bare.json"), "--plan", at("x")}, nodes...)...)
}
