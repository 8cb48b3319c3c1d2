package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/process"
	"github.com/secretvm/secretvm/vm"
)

const kmsStartTimeout = 60 * time.Second

// kms is a KMS node of this computer, run and spoken to through its program.
type kms struct {
	program string
	home    string
	node    *process.Process
	ready   kmsReady
}

// kmsReady is the line that `kmsd start` prints at its first block.
type kmsReady struct {
	Ready   bool   `json:"ready"`
	API     string `json:"api"`
	ChainID string `json:"chain_id"`
	Height  int64  `json:"height"`
}

// kmsStatus is the part of `kmsd status` that a machine's config names.
type kmsStatus struct {
	ChainID   string `json:"chain_id"`
	GroupKey  string `json:"group_key"`
	Threshold int    `json:"threshold"`
	Nodes     []any  `json:"nodes"`
	Height    int64  `json:"height"`
}

// init makes a chain in the home unless there is one. trustRoot is a development
// root that the chain will accept evidence under, beside Intel's.
func (k *kms) init(ctx context.Context, trustRoot string) (created bool, err error) {
	_, err = os.Stat(filepath.Join(k.home, "config", "genesis.json"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, k.run(ctx, nil, "init", "--trust-root", trustRoot)
}

// start runs the node until it has made a block.
func (k *kms) start(ctx context.Context) error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start kmsd: %w", err)
	}
	k.node, err = process.Start(process.Spec{
		Name: "kmsd", Argv: []string{k.program, "start", "--home", k.home, "--listen", "127.0.0.1:0"},
		Log: filepath.Join(k.home, "kmsd.log"), Stdout: write,
	})
	write.Close()
	if err != nil {
		read.Close()
		return err
	}
	ready := make(chan kmsReady, 1)
	go func() {
		defer read.Close()
		for lines := bufio.NewScanner(read); lines.Scan(); { // to the end, so that the node never blocks on its output
			var r kmsReady
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Ready {
				select {
				case ready <- r:
				default:
				}
			}
		}
	}()
	timer := time.NewTimer(kmsStartTimeout)
	defer timer.Stop()
	select {
	case k.ready = <-ready:
		return nil
	case <-k.node.Done():
		return k.node.Failure()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("kmsd has made no block within %s (its log: %s)", kmsStartTimeout, filepath.Join(k.home, "kmsd.log"))
	}
}

// status asks until the node has a block that is fresh enough to be named in a
// release: after a pause that takes one more than the ready line promises.
func (k *kms) status(ctx context.Context) (s kmsStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, kmsStartTimeout)
	defer cancel()
	for {
		err = k.run(ctx, &s, "status")
		if vm.CodeOf(err) != vm.CodeUnavailable || !k.node.Running() {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// run runs one command of the KMS and decodes its answer into result unless that
// is nil. A refusal is returned as *vm.Refusal.
func (k *kms) run(ctx context.Context, result any, args ...string) error {
	cmd := exec.CommandContext(ctx, k.program, append(args, "--home", k.home, "--json")...)
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

// port returns the port of loopback at which the node serves.
func (k *kms) port() string {
	_, port, _ := strings.Cut(strings.TrimPrefix(k.ready.API, "http://"), ":")
	return port
}

// command returns what a person types to ask the same KMS.
func (k *kms) command(args ...string) string {
	return k.program + " " + strings.Join(args, " ") + " --home " + k.home
}

func lastLine(b []byte) string {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return console.Clean(lines[len(lines)-1])
}
