package peer_test

import (
	"testing"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// Whatever a machine serves, reading it ends, and is refused with a code or
// gives bounded results.
func FuzzServed(f *testing.F) {
	f.Add([]byte("<html><pre>a: &lt;b\u200b</pre>"))
	f.Add([]byte(`{"dstack_app_id":"00"}`))
	f.Add([]byte(`{"nonce":"00","arch":"HOPPER","evidence_list":[{"certificate":"AA==","evidence":"AA=="}]}`))
	f.Add([]byte(`{"runner":"docker-compose","docker_compose_file":"a","init_script":["b"]}`))
	f.Add([]byte(`{"app_id":"aa","compose_hash":"","version":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := peer.Served{Compose: b, Info: b, GPU: b}
		if n := len(s.ComposeFiles()); n > 4 {
			t.Fatalf("%d candidates", n)
		}
		_ = s.AppID()
		if g, err := s.GPUEvidence(); err != nil && vm.CodeOf(err) == vm.CodeInternal || g != nil && len(g.Devices) > vm.MaxGPUs {
			t.Fatalf("%d devices, %v", len(g.Devices), err)
		}
		if app, err := peer.ParseAppCompose(b); err != nil && vm.CodeOf(err) == vm.CodeInternal || err == nil && app.Runner == "" {
			t.Fatalf("%+v, %v", app, err)
		}
		if _, err := peer.ParseDocument(b); err != nil && vm.CodeOf(err) == vm.CodeInternal {
			t.Fatal(err)
		}
		d := peer.Dstack{}
		var id vm.Register
		copy(id[:], b)
		if err := d.CheckBinding(id, nil, b); err != nil && vm.CodeOf(err) == vm.CodeInternal {
			t.Fatal(err)
		}
	})
}
