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
type owner struct {
	kmsd, home, node string
	groupKeys        []string
	from             string // account file of the signer; empty: the home's owner
	council          string // address of the council that owns; changes are proposed to it
	unsigned         string // file for the transaction, to be signed elsewhere
}

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
	tx := args[0] == "tx"
	args = append(args, "--home", home, "--json")
	for _, f := range []struct{ flag, value string }{{"--from", o.from}, {"--council", o.council}, {"--unsigned", o.unsigned}} {
		if tx && f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
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

// service completes a bare name to an id under the account that owns: the
// council, the signer, or the owner of the home.
func (o *owner) service(ctx context.Context, name string) (string, error) {
	if strings.Contains(name, "/") {
		if err := (keys.ID{Service: name, Scope: keys.ScopeService, Name: "env"}).Validate(); err != nil {
			return "", &exitError{exitUsage, fmt.Errorf("%q is no service id: want <owner>/<name>", name)}
		}
		return name, nil
	}
	if o.council != "" {
		return o.service(ctx, o.council+"/"+name)
	}
	file := o.from
	if file == "" {
		home, err := o.folder()
		if err != nil {
			return "", err
		}
		file = filepath.Join(home, "keys", "owner.json")
	}
	var account struct {
		Address string `json:"address"`
	}
	if err := o.run(ctx, &account, "keys", "show", file); err != nil {
		return "", err
	}
	return o.service(ctx, account.Address+"/"+name)
}
