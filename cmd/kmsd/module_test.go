package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestEveryMessageHasACommand: what people can send has a command that says what
// it is for, and nothing is described that does not exist.
func TestEveryMessageHasACommand(t *testing.T) {
	described := make(map[string]bool)
	tx, _, err := newRootCommand(&settings{}).Find([]string{"tx"})
	must(t, err)
	for _, module := range []string{"kms", "council", "committee"} {
		for _, m := range methodsOf(module, "Msg") {
			name, signer := kebab(string(m.Name())), signerOf(m.Input())
			found, _, err := tx.Find([]string{module, name})
			switch has := err == nil && found.Name() == name; {
			case signer == "":
				t.Errorf("%s %s names no signer", module, name)
			case signer == relayed && has:
				t.Errorf("%s %s is sent by nodes and has a command", module, name)
			case signer != relayed && (!has || found.Short == ""):
				t.Errorf("%s %s has no command that says what it is for", module, name)
			}
			described[module+" "+name] = true
		}
	}
	for name := range shortOf {
		if !described[name] {
			t.Errorf("there is no message %s", name)
		}
	}
}

// TestOwnersOfSeveralKeys: a service of which two of three people decide, signed
// on computers that see no node, and the queries that show it.
func TestOwnersOfSeveralKeys(t *testing.T) {
	k := newKmsd(t)
	k.run(0, new(node.Made), "init", "--chain-id", "secretvm-test-1")
	process, _ := k.start()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b", "c", "stranger"} {
		k.run(0, nil, "keys", "create", at(name))
	}
	var many signer.Public
	k.run(0, &many, "keys", "multisig", "--threshold", "2", at("a"), at("b"), at("c"))
	b, err := json.Marshal(many)
	must(t, err)
	must(t, os.WriteFile(at("many"), b, 0o600))
	k.run(1, nil, "tx", "kms", "create-service", "web", "--from", at("many"), "--unsigned", at("tx")) // not an account yet
	k.run(0, nil, "tx", "council", "admit", "--addresses", many.Address)
	k.run(0, nil, "tx", "kms", "create-service", "web", "--from", at("many"), "--unsigned", at("tx"))
	k.run(0, nil, "tx", "sign", at("tx"), "--from", at("a"), "--out", at("a.sig"))
	k.run(0, nil, "tx", "sign", at("tx"), "--from", at("c"), "--out", at("c.sig"))
	k.run(1, nil, "tx", "sign", at("tx"), "--from", at("stranger"))
	k.run(1, nil, "tx", "combine", at("tx"), at("a.sig")) // one of two
	k.run(1, nil, "tx", "combine", at("tx"), at("a.sig"), at("a.sig"))
	k.run(0, nil, "tx", "combine", at("tx"), at("a.sig"), at("c.sig"), "--out", at("signed"))
	k.run(0, nil, "tx", "broadcast", at("signed"))
	k.run(1, nil, "tx", "broadcast", at("signed")) // its sequence is used
	var services []wire.Service
	k.run(0, &services, "query", "kms", "services")
	if len(services) != 1 || services[0].Owner != many.Address {
		t.Errorf("services are %+v, want one of %s", services, many.Address)
	}

	// Flags: bytes in hex, messages in JSON, wrong ones are usage.
	k.run(0, nil, "tx", "kms", "create-service", "mine")
	k.run(0, nil, "tx", "kms", "set-policy", "--service", "mine", "--policy", `{"upgrade_delay": "3600", "tcb_statuses": ["SWHardeningNeeded"]}`)
	k.run(0, nil, "tx", "kms", "freeze", "--service", "mine")
	var refused vm.Refusal
	k.run(1, &refused, "tx", "kms", "set-policy", "--service", "nobody", "--policy", "{}")
	if refused.Code != vm.CodeNoService {
		t.Errorf("a policy of no service: %+v", refused)
	}
	for _, wrong := range [][]string{
		{"tx", "kms", "seal", "--service", "mine", "--name", "env", "--ciphertext", "xyz"},
		{"tx", "kms", "set-policy", "--service", "mine", "--policy", "{"},
		{"tx", "kms", "set-policy", "--service", "mine", "--policy", `{"nothing": 1}`},
		{"tx", "committee", "open-epoch", "--unknown", "1"},
		{"tx", "kms", "freeze", "--service", "a", "--service", "b"},
	} {
		k.run(exitUsage, nil, wrong...)
	}
	k.run(0, nil, "tx", "upgrade", "plan", "next", "--height", "1000000", "--info", "kmsd 9")
	k.run(0, nil, "tx", "upgrade", "cancel")
	k.run(exitRefused, nil, "tx", "upgrade", "plan", "v2", "--height", "1000000")
	k.run(exitUsage, nil, "wipe")
	k.run(exitRefused, nil, "wipe", "--node", "http://127.0.0.1:1") // it runs
	var page struct {
		Services []json.RawMessage `json:"services"`
	}
	k.run(0, &page, "query", "committee", "nodes")
	var instances map[string]any
	k.run(0, &instances, "query", "kms", "instances", "--service", "mine", "--limit", "10")
	must(t, process.Process.Kill())
	_ = process.Wait()
}

// TestTestnetCommand makes homes and says loudly what they are not.
func TestTestnetCommand(t *testing.T) {
	k := newKmsd(t)
	var made node.MadeTestnet
	dir := filepath.Join(t.TempDir(), "net")
	said := k.run(0, &made, "testnet", "--dir", dir, "--first-port", "0")
	if len(made.Homes) != 4 || made.Threshold != 3 || !made.Unattested || !strings.Contains(said, "NOBODY CHECKS") || strings.Contains(said, "EVIDENCE OF") {
		t.Errorf("made %+v, said %s", made, said)
	}
	var refused vm.Refusal
	k.run(1, &refused, "testnet", "--dir", dir)
	if refused.Code != vm.CodeExists {
		t.Errorf("a second time: %+v", refused)
	}
}
