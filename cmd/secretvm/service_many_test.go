package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// owners is a chain with what a test says of commands.
type owners struct {
	t                   *testing.T
	program, home, node string
	dir                 string
}

func newOwners(t *testing.T) *owners {
	o := &owners{t: t, dir: t.TempDir()}
	o.program, o.home, o.node = ownerHome(t)
	return o
}

func (o *owners) at(name string) string { return filepath.Join(o.dir, name) }

func (o *owners) write(name, text string) string {
	o.t.Helper()
	if err := os.WriteFile(o.at(name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return o.at(name)
}

// service runs a secretvm service command and returns what it printed.
func (o *owners) service(code int, want string, args ...string) string {
	o.t.Helper()
	var out, errs bytes.Buffer
	got := run(o.t.Context(), append([]string{"service", "--kmsd", o.program, "--home", o.home}, args...), strings.NewReader(""), &out, &errs)
	all := out.String() + errs.String()
	if got != code || !strings.Contains(all, want) {
		o.t.Fatalf("%v: exit code %d, want %d with %q\n%s", args, got, code, want, all)
	}
	return out.String()
}

// kmsd runs a command of kmsd that must succeed, and reads its JSON into into
// unless that is nil.
func (o *owners) kmsd(into any, args ...string) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), o.program, append([]string{"--home", o.home, "--json"}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("kmsd %v: %v\n%s%s", args, err, out, errs.String())
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			o.t.Fatalf("kmsd %v: %v in %s", args, err, out)
		}
	}
}

// TestServiceOfMany: services of a council, of a multisig account and of another
// key than the home's, with the commands of one owner.
func TestServiceOfMany(t *testing.T) {
	o := newOwners(t)
	addresses := map[string]string{}
	for _, name := range []string{"alice", "bob"} {
		var made struct{ Address string }
		o.kmsd(&made, "keys", "create", o.at(name))
		addresses[name] = made.Address
		o.kmsd(nil, "tx", "council", "admit", "--addresses", made.Address)
	}

	// Another key.
	o.service(exitOK, addresses["alice"]+"/own registered", "create", "own", "--from", o.at("alice"), "--upgrade-delay", "1h")
	o.service(exitOK, "1h0m0s", "policy", "show", "own", "--from", o.at("alice"))
	o.service(exitRefused, string(vm.CodePermission), "freeze", addresses["alice"]+"/own", "--yes", "--from", o.at("bob"))

	// A council of both.
	var council struct {
		Answer struct{ Address string } `json:"answer"`
	}
	o.kmsd(&council, "tx", "council", "create-council", "--members", addresses["alice"], "--members", addresses["bob"], "--threshold", "2")
	many := council.Answer.Address
	env := o.write(".env", "A=1\n")
	for n, c := range []struct {
		want string
		args []string
	}{
		{"web", []string{"create", "web", "--upgrade-delay", "2h"}},
		{"env", []string{"env", "set", "web", "--env-file", env}},
		{"frozen", []string{"freeze", "web", "--yes"}},
	} {
		var proposed struct {
			Answer struct{ Proposal, Status string } `json:"answer"`
		}
		if n == 0 {
			o.service(exitOK, "it is done when enough members say kmsd tx council approve --proposal 0", append(c.args, "--council", many, "--from", o.at("alice"))...)
			proposed.Answer.Proposal = "0"
		} else if err := json.Unmarshal([]byte(o.service(exitOK, "", append(c.args, "--council", many, "--from", o.at("alice"), "--json")...)), &proposed); err != nil || proposed.Answer.Status != "STATUS_OPEN" {
			t.Fatalf("%s: proposed %+v, %v", c.want, proposed, err)
		}
		var done struct {
			Answer struct{ Status string } `json:"answer"`
		}
		o.kmsd(&done, "tx", "council", "approve", "--proposal", proposed.Answer.Proposal, "--from", o.at("bob"))
		if done.Answer.Status != "STATUS_EXECUTED" {
			t.Fatalf("%s: the proposal is %s", c.want, done.Answer.Status)
		}
	}
	o.service(exitOK, "frozen", "show", "web", "--council", many)
	o.service(exitOK, "by "+many, "log", many+"/web")

	// Two keys, signed apart.
	var both struct{ Address string }
	o.kmsd(&both, "keys", "multisig", "--threshold", "2", o.at("alice"), o.at("bob"))
	cmd := exec.CommandContext(t.Context(), o.program, "keys", "multisig", "--threshold", "2", o.at("alice"), o.at("bob"), "--json")
	public, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	account, tx := o.write("both.json", string(public)), o.at("tx.json")
	o.kmsd(nil, "tx", "council", "admit", "--addresses", both.Address)
	o.service(exitOK, "written to "+tx+", and nothing is changed yet", "create", "shared", "--upgrade-delay", "3h", "--from", account, "--unsigned", tx)
	o.service(exitRefused, string(vm.CodeNoService), "show", "shared", "--from", account)
	for _, name := range []string{"alice", "bob"} {
		o.kmsd(nil, "tx", "sign", tx, "--from", o.at(name), "--out", o.at(name+".sig"))
	}
	o.kmsd(nil, "tx", "combine", tx, o.at("alice.sig"), o.at("bob.sig"), "--out", o.at("signed.json"))
	o.kmsd(nil, "tx", "broadcast", o.at("signed.json"))
	o.service(exitOK, "3h0m0s", "show", "shared", "--from", account)
}

// TestK3_EnvironmentOfAnotherGroupKey: nothing is encrypted to a key that is a
// group key, but not the one that the owner named, and not one that machines of
// the service will not ask for.
func TestK3_EnvironmentOfAnotherGroupKey(t *testing.T) {
	o := newOwners(t)
	env := o.write(".env", "A=hunter2\n")
	var other struct {
		GroupKey string `json:"group_key"`
	}
	o.kmsd(&other, "init", "--home", o.at("other"), "--chain-id", "other-1")
	o.service(exitOK, "registered", "create", "web")
	if other.GroupKey == "" {
		t.Fatal("no other group key")
	}
	o.service(exitRefused, "the node's group key is ", "env", "set", "web", "--env-file", env, "--group-key", other.GroupKey)
	o.service(exitRefused, "another key manager, or lies", "env", "set", "web", "--env-file", env, "--group-key", other.GroupKey, "--kms", o.node)
	o.service(exitUsage, "--group-key", "env", "set", "web", "--env-file", env, "--group-key", strings.Repeat("ab", 96))
	o.service(exitOK, "sealed to epoch 0 of the group key", "env", "set", "web", "--env-file", env)

	// A second epoch. An image of before names the first alone.
	folder := measureFolder(t, func(*vm.Manifest) {})
	compose := o.write("docker-compose.yaml", "services: {web: {image: \"r.example/web@sha256:"+strings.Repeat("a", 64)+"\"}}\n")
	add := []string{"image", "add", "web", "--image", folder, "--shape", "2x2G", "--compose", compose, "--yes"}
	o.service(exitOK, "image 0 of", add...)
	o.kmsd(nil, "tx", "committee", "open-epoch")
	var second wire.Status
	for end := time.Now().Add(2 * time.Minute); second.Epoch == 0; time.Sleep(100 * time.Millisecond) {
		if err := readFrom(t.Context(), o.node, wire.PathStatus+"?epoch=1", &second); err != nil && time.Now().After(end) {
			t.Fatal(err)
		}
	}
	o.service(exitOK, "sealed to epoch 0 of", "env", "set", "web", "--env-file", env)
	o.service(exitRefused, "image 0 names the group key of no epoch", "env", "set", "web", "--env-file", env, "--group-key", second.GroupKey.String())
	o.service(exitOK, "image 1 of", add...)
	var images []wire.Image
	if err := json.Unmarshal([]byte(o.service(exitOK, "", "image", "list", "web", "--json")), &images); err != nil {
		t.Fatal(err)
	}
	var template bytes.Buffer
	if err := json.Compact(&template, images[1].Template); err != nil {
		t.Fatal(err)
	}
	cfg, err := vm.ParseConfig(template.Bytes())
	if err != nil || cfg.KMS.Epoch != 1 || cfg.KMS.GroupKey != second.GroupKey.String() || len(cfg.KMS.Previous) != 1 {
		t.Fatalf("the new image's key manager is %+v, %v", cfg.KMS, err)
	}
	o.service(exitOK, "sealed to epoch 0 of", "env", "set", "web", "--env-file", env) // both images name it
	o.service(exitOK, "revoked", "image", "revoke", "web", "0")
	o.service(exitOK, "sealed to epoch 1 of the group key ("+second.GroupKey.String()[:16], "env", "set", "web", "--env-file", env)
}
