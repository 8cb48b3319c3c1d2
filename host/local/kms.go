package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/vm"
)

// kms is the key manager of this computer: the nodes of one chain, run and spoken
// to through their program.
type kms struct {
	program string
	folder  string // home of the only node, or above the homes of many
	shared  bool   // with machines that are nodes, too
	nodes   []*kmsNode
}

// kmsStatus is the part of `kmsd status` that a machine's config names.
type kmsStatus struct {
	ChainID   string   `json:"chain_id"`
	GroupKey  string   `json:"group_key"`
	Epoch     uint64   `json:"epoch"`
	Open      []uint64 `json:"open_epochs"`
	Threshold int      `json:"threshold"`
	Nodes     []any    `json:"nodes"`
	Height    int64    `json:"height"`
}

// kmsFounders is what `kmsd testnet` writes when all homes are made.
type kmsFounders struct {
	Homes []struct {
		API string `json:"api"`
	} `json:"homes"`
}

// find lists the nodes that the folder has homes of; none: there is no chain.
func (k *kms) find() error {
	k.nodes = nil
	text, err := os.ReadFile(filepath.Join(k.folder, "testnet.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Join(k.folder, "config", "genesis.json")); err == nil {
			k.nodes = []*kmsNode{{name: "kmsd", program: k.program, home: k.folder, listen: "127.0.0.1:0"}}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for a KMS: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("look for a KMS: %w", err)
	}
	var made kmsFounders
	if err := json.Unmarshal(text, &made); err != nil {
		return fmt.Errorf("look for a KMS: %s/testnet.json: %w", k.folder, err)
	}
	for i, h := range made.Homes {
		name := "node" + strconv.Itoa(i+1)
		n := &kmsNode{name: name, program: k.program, home: filepath.Join(k.folder, name), api: h.API}
		if k.shared {
			n.idle = machineIdle
		}
		k.nodes = append(k.nodes, n)
	}
	return nil
}

// make makes a chain of n nodes unless there is a chain; then n, if it is not 0, is
// how many nodes it must have. With 0 the chain has one node, which listens to no
// others and is ready soonest. trustRoot is a development root that
// the chain will accept evidence under, beside the vendors'; empty: none.
func (k *kms) make(ctx context.Context, n int, trustRoot string) (created bool, err error) {
	if err := k.find(); err != nil {
		return false, err
	}
	if have := len(k.nodes); have > 0 {
		if alone := k.nodes[0].listen != ""; n == 1 && alone {
			return false, fmt.Errorf("the KMS in %s was made for one node, and others cannot join it: begin anew, without the data, with another --state", k.folder)
		}
		if n != 0 && n != have {
			return false, fmt.Errorf("the KMS in %s has %s, and %d are asked for: its nodes are changed by the chain itself, not by up. "+
				"Leave --kms-nodes out to use it as it is, or begin anew, without the data, with another --state", k.folder, count(have, "node"), n)
		}
		return false, nil
	}
	var root []string
	if trustRoot != "" {
		root = []string{"--trust-root", trustRoot}
	}
	if n == 0 {
		if err := os.MkdirAll(k.folder, 0o700); err != nil {
			return false, fmt.Errorf("make the KMS's home: %w", err)
		}
		err = k.run(ctx, k.folder, nil, append([]string{"init"}, root...)...)
	} else {
		err = k.found(ctx, n, root)
	}
	if err != nil {
		return false, err
	}
	return true, k.find()
}

// found makes the homes of a chain of many; all of them appear or none.
func (k *kms) found(ctx context.Context, n int, root []string) error {
	making := k.folder + ".new" // of an up that was interrupted, if it is there: nothing has run in it
	if err := os.RemoveAll(making); err != nil {
		return fmt.Errorf("make the KMS's homes: %w", err)
	}
	if err := os.MkdirAll(making, 0o700); err != nil {
		return fmt.Errorf("make the KMS's homes: %w", err)
	}
	args := []string{"testnet", "--nodes", strconv.Itoa(n), "--first-port", "0", "--dir", making}
	if k.shared {
		args = append(args, "--profile", "wide") // an emulated node takes its time
	}
	err := k.run(ctx, making, nil, append(args, root...)...)
	if err != nil {
		return err
	}
	if err := os.Rename(making, k.folder); err != nil {
		return fmt.Errorf("make the KMS's homes: %w", err)
	}
	return nil
}

// needed is how many of the chain's first nodes make keys and blocks: the chain's
// own threshold, which more than two thirds of validators imply as well.
func (k *kms) needed() int { return 2*len(k.nodes)/3 + 1 }

// live lists the nodes that are ready and have not ended.
func (k *kms) live() (out []*kmsNode) {
	for _, n := range k.nodes {
		if n.running() {
			out = append(out, n)
		}
	}
	return out
}

// owner is the home with the key of who governs.
func (k *kms) owner() string {
	if len(k.nodes) > 0 {
		return k.nodes[0].home
	}
	return k.folder
}

// urls are those of all nodes, also of nodes that are down: they may come back.
func (k *kms) urls() (out []string) {
	for _, n := range k.nodes {
		if n.api != "" {
			out = append(out, n.api)
		}
	}
	return out
}

// status asks until a node has a block that is fresh enough to be named in a
// release: after a pause that takes one more than the ready line promises.
func (k *kms) status(ctx context.Context) (s kmsStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, kmsStartTimeout)
	defer cancel()
	for {
		err = k.ask(ctx, &s, "status")
		if vm.CodeOf(err) != vm.CodeUnavailable || len(k.live()) < k.needed() {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask runs one command of the KMS for who governs, at a node that is there.
func (k *kms) ask(ctx context.Context, result any, args ...string) error {
	return k.run(ctx, k.owner(), result, append(args, k.at()...)...)
}

// at names the node to ask where that is not the owner's own.
func (k *kms) at() []string {
	live := k.live()
	if len(live) == 0 || live[0].home == k.owner() {
		return nil
	}
	return []string{"--node", live[0].api}
}

// run runs one command of the KMS and decodes its answer into result unless that
// is nil. A refusal is returned as *vm.Refusal.
func (k *kms) run(ctx context.Context, home string, result any, args ...string) error {
	cmd := exec.CommandContext(ctx, k.program, append(args, "--home", home, "--json")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var refusal vm.Refusal
		if json.Unmarshal(stdout.Bytes(), &refusal) == nil && refusal.Code != "" {
			return fmt.Errorf("kmsd %s: %w", args[0], &refusal)
		}
		return fmt.Errorf("kmsd %s: %w: %s", strings.Join(args, " "), err, lastLine(stderr.Bytes()))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), result); err != nil {
		return fmt.Errorf("kmsd %s: decode its answer: %w", strings.Join(args, " "), err)
	}
	return nil
}

// command returns what a person types to ask the same KMS.
func (k *kms) command(args ...string) string {
	return k.program + " " + strings.Join(append(args, k.at()...), " ") + " --home " + k.owner()
}

// count writes a number with its word.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

func lastLine(b []byte) string {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return console.Clean(lines[len(lines)-1])
}
