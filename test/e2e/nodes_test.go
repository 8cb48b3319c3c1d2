//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/kms/wire"
)

// TestKeyManagerInAMachine: a node of the key manager that is a machine of this
// system. Its disk key comes from the chain that it joins, its machine proves what
// it runs, and it gets a share. A workload then gets its keys from it, and after
// an orderly end the same machine, with the same disk, is a node again.
func TestKeyManagerInAMachine(t *testing.T) {
	if !*long {
		t.Skip("only with -long: it takes many minutes")
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{repository: repository, state: filepath.Join(t.TempDir(), "state"), workload: "examples/guestbook", others: *keyMachines}
	if *kernel != "generic" {
		l.build(t, filepath.Join(t.TempDir(), "image"))
	}
	l.upArgs = append(l.upArgs, "--kms-nodes", strconv.Itoa(*keyMachines), "--kms-in", "vms")
	owner := filepath.Join(l.state, "kms", "node1")

	s := l.up(t)
	for _, step := range s.result.Steps {
		t.Logf("%-12s %8s  %s", step.Name, seconds(step.Took), step.Remark)
	}
	var status wire.Status
	if err := json.Unmarshal([]byte(l.must(t, "kmsd", "status", "--home", owner, "--json")), &status); err != nil {
		t.Fatal(err)
	}
	nodes := *keyMachines + 1
	if len(status.Nodes) != nodes || status.Threshold < 2 || status.Nodes[0].Attested || len(s.result.KMS) != nodes {
		t.Fatalf("status is %+v, key manager %q", status, s.result.KMS)
	}
	for i := 1; i < nodes; i++ {
		if !status.Nodes[i].Attested || status.Nodes[i].API != s.result.KMS[i] {
			t.Errorf("node %d is %+v, key manager %q", i+1, status.Nodes[i], s.result.KMS)
		}
	}
	s.story(t)
	s.down(t)
	if !strings.Contains(s.stderr.String(), "the founding node has the key alone") {
		t.Errorf("the machine has not given its share back:\n%s", s.stderr)
	}

	// The second time its disk is opened, not made, and its keys are the same.
	s = l.up(t)
	if !s.reads(t, diary) {
		t.Error("the second up has lost the entry")
	}
	var again wire.Status
	if err := json.Unmarshal([]byte(l.must(t, "kmsd", "status", "--home", owner, "--json")), &again); err != nil {
		t.Fatal(err)
	}
	if len(again.Nodes) != nodes || !again.GroupKey.Equal(status.GroupKey) || !again.Nodes[1].Attested {
		t.Errorf("status after the second up is %+v", again)
	}
	s.down(t)
}
