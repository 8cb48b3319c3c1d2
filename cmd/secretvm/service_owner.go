package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// askTimeout bounds one question to a node.
const askTimeout = 30 * time.Second

// owner speaks for the owner of services: it reads from a node, and has kmsd
// sign what it changes.
type owner struct{ kmsd, home, node, groupKey string }

// folder is the home of the owner's kmsd: its own default unless named.
func (o *owner) folder() (string, error) {
	if o.home != "" {
		return o.home, nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "secretvm", "kms"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "secretvm", "kms"), err
}

// run runs one command of kmsd and decodes its answer into result unless that is
// nil. Secrets are never among args: they show in the list of processes.
func (o *owner) run(ctx context.Context, result any, args ...string) error {
	program, err := findKmsd(o.kmsd)
	if err != nil {
		return err
	}
	home, err := o.folder()
	if err != nil {
		return err
	}
	name := strings.Join(args[:min(3, len(args))], " ")
	args = append(args, "--home", home, "--json")
	if o.node != "" {
		args = append(args, "--node", o.node)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var refusal vm.Refusal
		if json.Unmarshal(stdout.Bytes(), &refusal) == nil && refusal.Code != "" {
			return reached(&refusal)
		}
		lines := bytes.Split(bytes.TrimSpace(stderr.Bytes()), []byte("\n"))
		return fmt.Errorf("kmsd %s: %w: %s", name, err, console.Clean(lines[len(lines)-1]))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), result); err != nil {
		return fmt.Errorf("kmsd %s: decode its answer: %w", name, err)
	}
	return nil
}

// own is the URL of the node that runs, or ran last, in the home.
func (o *owner) own() (string, error) {
	home, err := o.folder()
	if err != nil {
		return "", err
	}
	url, err := os.ReadFile(filepath.Join(home, "endpoint"))
	if err != nil {
		return "", reached(vm.Refuse(vm.CodeUnavailable, "no node has run in %s yet", home).Try("kmsd start, or name a node with --kms URL"))
	}
	return strings.TrimSpace(string(url)), nil
}

// read asks the node.
func (o *owner) read(ctx context.Context, path string, into any) error {
	url, err := o.node, error(nil)
	if url == "" {
		if url, err = o.own(); err != nil {
			return err
		}
	}
	return readFrom(ctx, url, path, into)
}

func readFrom(ctx context.Context, url, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return reached(wire.Call(ctx, http.DefaultClient, http.MethodGet, url, path, nil, into))
}

// reached gives an error the exit code for what could not be asked.
func reached(err error) error {
	if err != nil && vm.CodeOf(err) == vm.CodeUnavailable {
		return &exitError{exitUnreachable, err}
	}
	return err
}

// service completes a bare name to an id under the home's owner.
func (o *owner) service(ctx context.Context, name string) (string, error) {
	if strings.Contains(name, "/") {
		if err := (keys.ID{Service: name, Scope: keys.ScopeService, Name: "env"}).Validate(); err != nil {
			return "", &exitError{exitUsage, fmt.Errorf("%q is no service id: want <owner>/<name>", name)}
		}
		return name, nil
	}
	home, err := o.folder()
	if err != nil {
		return "", err
	}
	var account struct {
		Address string `json:"address"`
	}
	if err := o.run(ctx, &account, "keys", "show", filepath.Join(home, "keys", "owner.json")); err != nil {
		return "", err
	}
	return o.service(ctx, account.Address+"/"+name)
}

// manager is the key manager, with a group key that is not only a stranger's
// word: the owner named it, or a node in the owner's own home says the same.
func (o *owner) manager(ctx context.Context) (vm.KMS, keys.PublicKey, error) {
	var status wire.Status
	if err := o.read(ctx, wire.PathStatus, &status); err != nil {
		return vm.KMS{}, status.GroupKey, err
	}
	want := o.groupKey
	if want == "" {
		url, err := o.own()
		if err != nil {
			return vm.KMS{}, status.GroupKey, &exitError{exitUsage, fmt.Errorf("name the key manager's group key with --group-key: a node's word alone does not do")}
		}
		var mine wire.Status
		if err := readFrom(ctx, url, wire.PathStatus, &mine); err != nil {
			return vm.KMS{}, status.GroupKey, fmt.Errorf("ask the own node for the group key (or name it with --group-key): %w", err)
		}
		want = mine.GroupKey.String()
	}
	key, err := keys.ParsePublicKeyHex(want)
	if err != nil {
		return vm.KMS{}, key, &exitError{exitUsage, fmt.Errorf("--group-key: %w", err)}
	}
	if !key.Equal(status.GroupKey) {
		return vm.KMS{}, key, vm.Refuse(vm.CodeConfig, "the node's group key is %.16s…, want %.16s…", status.GroupKey, key).
			Try("ask another node: this one belongs to another key manager, or lies")
	}
	return vm.KMS{ChainID: status.ChainID, GroupKey: key.String()}, key, nil
}
