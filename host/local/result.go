package local

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// Result describes a running installation.
type Result struct {
	Service     string        `json:"service"`
	Instance    string        `json:"instance_id"`
	TEE         vm.TEE        `json:"tee"`
	Addresses   []Address     `json:"addresses"`
	Attestation string        `json:"attestation"`
	Verify      []string      `json:"verify"`            // the command that checks this machine
	KMS         []string      `json:"kms"`               // URLs of its nodes
	State       string        `json:"state"`             // the machine's folder
	Failure     string        `json:"failure,omitempty"` // why the workload does not run, in the guest's words
	Notes       []string      `json:"notes,omitempty"`
	Steps       []step.Result `json:"steps"`
}

// Result returns where everything is; call it after Up has succeeded.
func (in *Installation) Result() Result {
	attestation := "https://127.0.0.1:" + strconv.Itoa(in.attestation)
	var failure string
	if in.failure != nil {
		failure = firstLine(in.failure)
	}
	return Result{
		Failure: failure,
		Service: in.service.ID, Instance: in.folder.Instance(), TEE: in.o.TEE, Addresses: in.addresses,
		Attestation: attestation, Verify: in.verifyCommand(attestation),
		KMS: in.kmsURLs(), State: in.folder.Dir(), Notes: in.reports.notes, Steps: in.reports.results(),
	}
}

// verifyCommand is what anyone who has the same files types to check the machine.
func (in *Installation) verifyCommand(url string) []string {
	w := in.o.Workload
	argv := []string{in.o.Command, "verify", url, "--compose", w.Path}
	if w.Files != nil {
		argv = append(argv, "--files", filepath.Join(filepath.Dir(w.Path), configdisk.FilesName))
	}
	argv = append(argv, "--manifest", in.manifest, "--service", in.service.ID)
	if in.trustRoot != "" { // the vendor's is built in
		argv = append(argv, "--trust-root", in.trustRoot)
	}
	return argv
}

// WriteTo prints the result for a person.
func (r Result) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, a := range r.Addresses {
		fmt.Fprintf(&b, "   %-12s %s\n", a.Service, a.URL)
	}
	fmt.Fprintf(&b, "   %-12s %s\n", "attestation", r.Attestation)
	fmt.Fprintf(&b, "   %-12s %s\n", "check it", CommandLine(r.Verify))
	if r.Failure != "" {
		fmt.Fprintf(&b, "   %-12s %s; the machine runs on, and its attestation answers\n", "FAILED", r.Failure)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "   %-12s %s\n", "note", note)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// WriteJSON prints the result for a program, on one line.
func (r Result) WriteJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// CommandLine writes argv as a POSIX shell reads it.
func CommandLine(argv []string) string {
	quoted := make([]string, len(argv))
	for i, arg := range argv {
		quoted[i] = arg
		if arg == "" || strings.ContainsFunc(arg, unsafeInShell) {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func unsafeInShell(r rune) bool {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,"
	return !strings.ContainsRune(safe, r)
}

// shorten writes a service id with the middle of its owner's address left out.
func shorten(service string) string {
	owner, name, _ := strings.Cut(service, "/")
	if len(owner) > 12 {
		owner = owner[:8] + "…"
	}
	return owner + "/" + name
}

// collector passes reports on and keeps the results.
type collector struct {
	to    step.Reporter
	notes []string

	mu   sync.Mutex
	done []step.Result
}

// Started implements step.Reporter.
func (c *collector) Started(name string) { c.to.Started(name) }

// Finished implements step.Reporter.
func (c *collector) Finished(r step.Result) {
	c.mu.Lock()
	c.done = append(c.done, r)
	c.mu.Unlock()
	c.to.Finished(r)
}

func (c *collector) results() []step.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]step.Result(nil), c.done...)
}

// sincePowerOn is how long the machine has been on.
func (in *Installation) sincePowerOn() time.Duration { return time.Since(in.run.Started()) }
