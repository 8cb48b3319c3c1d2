package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/secretvm/secretvm/host/process"
)

const (
	kmsStartTimeout = 60 * time.Second
	// stragglers is how long nodes may be behind those that suffice.
	stragglers = 3 * time.Second
)

// kmsNode is one node of a KMS.
type kmsNode struct {
	name, program, home string
	listen              string // host:port; empty: as the home's settings say
	idle                string // between blocks without transactions; empty: kmsd's own
	api                 string // URL; of a node that chooses its port, known when it is ready
	process             *process.Process
	ready               bool
}

// kmsReady is the line that `kmsd start` prints when releases can be decided.
type kmsReady struct {
	Ready   bool   `json:"ready"`
	API     string `json:"api"`
	ChainID string `json:"chain_id"`
	Height  int64  `json:"height"`
}

func (n *kmsNode) log() string { return filepath.Join(n.home, "kmsd.log") }

// running reports whether the node has said that it is ready, and has not ended.
func (n *kmsNode) running() bool { return n.ready && n.process.Running() }

// start starts the node's process and returns what delivers its ready line.
func (n *kmsNode) start() (<-chan kmsReady, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	argv := []string{n.program, "start", "--home", n.home}
	if n.listen != "" {
		argv = append(argv, "--listen", n.listen)
	}
	if n.idle != "" {
		argv = append(argv, "--idle-interval", n.idle)
	}
	n.process, err = process.Start(process.Spec{Name: n.name, Argv: argv, Log: n.log(), Stdout: write})
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
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
	return ready, nil
}

// outcome is that a node is ready, or why it is not.
type outcome struct {
	node  *kmsNode
	ready kmsReady
	err   error
}

// start runs all nodes and returns when they are ready. Of many, those that make
// keys suffice: the others are given a little longer, and then left out with a
// note that says why.
func (k *kms) start(ctx context.Context) (notes []string, err error) {
	outcomes := make(chan outcome, len(k.nodes))
	for _, n := range k.nodes {
		ready, err := n.start()
		if err != nil {
			return nil, err
		}
		go func() {
			select {
			case r := <-ready:
				outcomes <- outcome{node: n, ready: r}
			case <-n.process.Done():
				outcomes <- outcome{node: n, err: n.process.Failure()}
			}
		}()
	}
	patience := time.NewTimer(kmsStartTimeout)
	defer patience.Stop()
	waiting, failed := len(k.nodes), []error(nil)
	for waiting > 0 {
		select {
		case o := <-outcomes:
			waiting--
			if o.err != nil {
				failed = append(failed, o.err)
				if len(k.nodes)-len(failed) < k.needed() {
					return nil, errors.Join(failed...)
				}
			} else {
				o.node.api, o.node.ready = o.ready.API, true
			}
			if len(k.live()) == k.needed() {
				patience.Reset(stragglers)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience.C:
			if len(k.live()) < k.needed() {
				return nil, fmt.Errorf("%d of %s of the KMS are ready after %s, and %d are needed%s", len(k.live()), count(len(k.nodes), "node"), kmsStartTimeout, k.needed(), k.silent())
			}
			return k.left(failed), nil
		}
	}
	return k.left(failed), nil
}

// left describes the nodes that up goes on without.
func (k *kms) left(failed []error) (notes []string) {
	for _, err := range failed {
		notes = append(notes, fmt.Sprintf("one node of the KMS is missing, %d of %d suffice: %v", k.needed(), len(k.nodes), err))
	}
	for _, n := range k.nodes {
		if !n.ready && n.process.Running() {
			notes = append(notes, fmt.Sprintf("%s of the KMS is not ready yet, %d of %d suffice (its log: %s)", n.name, k.needed(), len(k.nodes), n.log()))
		}
	}
	return notes
}

// silent names the logs of the nodes that are not ready.
func (k *kms) silent() string {
	var logs []string
	for _, n := range k.nodes {
		if !n.ready {
			logs = append(logs, n.log())
		}
	}
	return " (logs: " + strings.Join(logs, ", ") + ")"
}

// lost is closed when so many nodes have ended that no keys are made; why says it.
// Every node that ends before is told to warn, until ctx ends. Call it once.
func (k *kms) lost(ctx context.Context, warn Note) (lost <-chan struct{}, why func() error) {
	var mu sync.Mutex
	var ended []error
	done, left := make(chan struct{}), 0
	for _, n := range k.nodes {
		if n.process.Running() {
			left++
		}
	}
	for _, n := range k.nodes {
		if !n.process.Running() {
			continue
		}
		go func() {
			<-n.process.Done()
			mu.Lock()
			defer mu.Unlock()
			left--
			err := n.process.Failure()
			ended = append(ended, err)
			switch {
			case left == k.needed()-1:
				close(done)
			case left >= k.needed() && ctx.Err() == nil:
				warn("%v\n    the KMS goes on with %d of %d nodes", err, left, len(k.nodes))
			}
		}()
	}
	if left < k.needed() {
		close(done)
	}
	return done, func() error {
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(ended...)
	}
}

// stop ends all nodes, at once: the last ones make no blocks without the others.
func (k *kms) stop(grace time.Duration) error {
	errs := make([]error, len(k.nodes))
	var stopping sync.WaitGroup
	for i, n := range k.nodes {
		if n.process != nil {
			stopping.Go(func() { errs[i] = n.process.Stop(grace) })
		}
	}
	stopping.Wait()
	return errors.Join(errs...)
}

// started reports whether any node was.
func (k *kms) started() bool {
	for _, n := range k.nodes {
		if n.process != nil {
			return true
		}
	}
	return false
}
