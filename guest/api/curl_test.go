package api_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// TestCurl: what docs/guest-api.md shows is answered.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	g := newGroup(t)
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Config.API = vm.API{"web": {"event", "info", "instance-key/session", "key/wallet", "quote", "sign/ed25519", "sign/secp256k1"}}
	})
	_, sockets := listen(t, api.Options{Machine: proof.New(m, m.Config), Config: m.Config, Events: m.Events, Keys: g.release(t, m.Config)})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"http://vm/info"}, `"service":"web"`},
		{[]string{"http://vm/quote?data=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}, `"evidence":{`},
		{[]string{"http://vm/quote?data=00&about=application"}, `"application_register":"`},
		{[]string{"http://vm/key?path=wallet/alice"}, `{"key":"`},
		{[]string{"http://vm/key?path=session&scope=instance"}, `{"key":"`},
		{[]string{"-d", `{"key_type":"ed25519","payload":"hello"}`, "http://vm/sign"}, `{"signature":"`},
		{[]string{"-d", `{"payload":"hello"}`, "http://vm/sign"}, `{"signature":"ME`}, // DER
		{[]string{"-d", `{"payload":"hello","domain":"prices"}`, "http://vm/sign"}, `{"signature":"`},
		{[]string{"http://vm/publickey?key_type=ed25519"}, `"pem":"-----BEGIN PUBLIC KEY-----`},
		{[]string{"-d", `{"name":"model-loaded","payload":"bGxhbWEgMw=="}`, "http://vm/event"}, `"events":1}`},
		{[]string{"-d", `{"name":"model-loaded","payload":"bGxhbWEgMw=="`, "http://vm/event"}, `"code":"malformed"`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out, err := exec.CommandContext(ctx, curl, append([]string{"-s", "--unix-socket", sockets["web"]}, tt.args...)...).CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("curl %q: %v: %.300s, want %s", tt.args, err, out, tt.want)
		}
	}
}
