package secretnetwork

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/secretvm/secretvm/compose"
)

// A machine whose compose file chooses the contract gets its keys: the config is
// the one that `secretvm up` makes of the file, the contract the test's.
func TestTheComposeFilesConfigGetsKeys(t *testing.T) {
	n := newNetwork(t)
	w, err := compose.Parse([]byte(fmt.Sprintf(`x-secretvm:
  service: guestbook
  env: [PASSWORD]
  kms: { provider: secret-network, chain_id: secret-4, contract: %s, code_hash: %s, consensus_key: %s }
services:
  web: { image: "a@sha256:2414de374c9c933e341f8a8e86b2061b853a1c168254d3bd43bbeaeefbd81625" }
`, contract, codeHash, hex.EncodeToString(n.consensus.PublicKey().Bytes()))), nil)
	must(t, err)
	m := w.Settings.Manager
	cfg, err := w.Config(m.Service(w.Settings.Service), m.KMS, uid)
	must(t, err)
	s, err := release(t, tdx(), cfg, n.url)
	must(t, err)
	if env, err := s.Environment(); err != nil || env["PASSWORD"] != "swordfish" || s.DiskKey() == ([32]byte{}) {
		t.Errorf("environment is %d variables, %v", len(env), err)
	}
}
