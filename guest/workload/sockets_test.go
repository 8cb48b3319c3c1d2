package workload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestW2_SocketsAreMountedWhereGranted: the overlay gives each service its own
// socket, and docker compose reads it after the measured file.
func TestW2_SocketsAreMountedWhereGranted(t *testing.T) {
	r := &recorder{}
	run := t.TempDir()
	e := NewEngine(Folders{Run: run, Data: "/data"}, r, func(string) {})
	p, err := e.Project("guestbook", filepath.Join(t.TempDir(), "w"), []byte("services: {}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.MountSockets(map[string]string{"web": "/run/secretvm/api/web.sock", "signer": "/run/secretvm/api/signer.sock"}); err != nil {
		t.Fatal(err)
	}
	args := p.command(t.Context(), "up").Args
	i := slices.Index(args, p.Folder+".yaml")
	if i < 0 || len(args) < i+3 || args[i+1] == "up" {
		t.Fatalf("runs %q", args)
	}
	overlay := args[slices.Index(args[i+1:], "--file")+i+2]
	b, err := os.ReadFile(overlay)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Services map[string]struct {
			Volumes []struct {
				Type, Source, Target string
				Bind                 struct {
					CreateHostPath *bool `json:"create_host_path"`
				}
			}
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "signer"} {
		v := got.Services[name].Volumes
		if len(v) != 1 || v[0].Type != "bind" || v[0].Source != "/run/secretvm/api/"+name+".sock" || v[0].Target != "/run/secretvm.sock" ||
			v[0].Bind.CreateHostPath == nil || *v[0].Bind.CreateHostPath {
			t.Errorf("%s gets %+v", name, v)
		}
	}
	if len(got.Services) != 2 {
		t.Errorf("overlay is %s", b)
	}
}
