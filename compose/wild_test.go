package compose

import (
	"fmt"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// Public compose files, byte for byte, run or say why they do not.
func TestPublicFiles(t *testing.T) {
	for _, tt := range []struct {
		file, sum string
		services  int
		ports     string
		wantErr   string // of the file by itself
		trusted   string // service that has to be trusted with the machine for it to run
	}{
		{"wordpress-mysql", "5d48e4604f389b347e0fa37c54792bb71c40feea6f87dba075f571221d4e3985", 3, "[80 8080]", "", ""},
		{"gitea-postgres", "ec30da447d0856cceeeffec7ec9d1ca648d64e26cffa06bab5c2f48c704c0b73", 2, "[3000]", "", ""},
		{"nextcloud-postgres", "ca85b31a0a22ac61e52d7a618c70421783ef722fb59021ee920fdd9f7f7b5b9c", 2, "[80]", "", ""},
		{"voting-app", "82a74fcaa653d615785fd4ea8084cba5b41d8512a56e56f495aaddf5f4199a0d", 5, "[8080 8081]", "", ""},
		{"immich", "46e51c1ee0ea5e290e9b04134a6dfd9bde3d146c9efe375b21d43fd38ada82a1", 4, "[2283]", "", ""},
		{"ai-starter-kit", "1aa7852b38bb97a535bf223d72361ef3187836fa524a9e254775373dc37b9281", 10, "[5678 443 6333 9000 9001 81]", "", ""},
		{"authentik", "26b1e3ac9ec4092a50f4f23825ebd0d85165b3126f21a81dba6a7e6bff702079", 4, "[9000 9443]", "service worker: line 80: it mounts /var/run/docker.sock of the machine", "worker"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			raw := vectors.ReadIfThere(t, "compose/"+tt.file+".yaml")
			if got := vm.HashOf(raw).String(); got != tt.sum {
				t.Fatalf("this is another file: its SHA-256 is %s", got)
			}
			w, err := Parse(raw, nil)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("%v, want an error with %q", err, tt.wantErr)
				}
				raw = append([]byte(SettingsKey+": { images: tag, privileged: ["+tt.trusted+"] }\n"), strings.TrimPrefix(string(raw), "---\n")...)
				w, err = Parse(raw, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			var ports []uint16
			for _, p := range w.Ports() {
				ports = append(ports, p.Host)
			}
			if len(w.Services) != tt.services || fmt.Sprint(ports) != tt.ports || w.Settings.Images != "tag" {
				t.Errorf("%d services, ports %v, images %s", len(w.Services), ports, w.Settings.Images)
			}
			// With digests beside it the same bytes run exactly these images.
			pins := vm.Pins{}
			for _, s := range w.Services {
				pins[s.Image] = vm.HashOf([]byte(s.Image))
			}
			pinned, err := ParsePinned(raw, nil, pins)
			if err != nil || tt.wantErr == "" && pinned.Settings.Images != "digest" {
				t.Fatalf("pinned: %+v, %v", pinned, err)
			}
			cfg, err := pinned.Config("svm1abc/x", testKMS, testInstance)
			if err != nil || cfg.ComposeHash != vm.HashOf(raw) || len(cfg.Pins) == 0 {
				t.Errorf("config is %+v, %v", cfg, err)
			}
		})
	}
}
