package workload

import (
	"strings"
	"testing"
)

const sum = "@sha256:70a0be653039d66000f9fd681862b3eb801e02d044864f87ae6f8c7caa49eb82"

// TestW1_MovedTag: an image that could be another one tomorrow does not run
// unless the measured config accepts that.
func TestW1_MovedTag(t *testing.T) {
	for _, tt := range []struct{ name, model, wantErr string }{
		{"pinned", `{"services":{"web":{"image":"nginx` + sum + `"},"db":{"image":"localhost:5000/a/b:7` + sum + `"}}}`, ""},
		{"other fields", `{"name":"x","services":{"web":{"image":"a` + sum + `","build":null,"ports":[{"target":80}]}},"volumes":{"v":{}}}`, ""},
		{"tag", `{"services":{"web":{"image":"nginx:1.29"}}}`, `service web: the image "nginx:1.29" can change behind its name: write image: nginx:1.29@sha256:<digest>`},
		{"second service", `{"services":{"a":{"image":"a` + sum + `"},"b":{"image":"redis"}}}`, "service b"},
		{"first by name", `{"services":{"b":{"image":"redis"},"a":{"image":"x"}}}`, "service a"},
		{"no image", `{"services":{"web":{}}}`, "service web"},
		{"build", `{"services":{"web":{"build":{"context":"."},"image":"a` + sum + `"}}}`, "is built in the machine"},
		{"short digest", `{"services":{"web":{"image":"a@sha256:70a0"}}}`, "can change"},
		{"other hash", `{"services":{"web":{"image":"a@sha512:` + strings.Repeat("a", 64) + `"}}}`, "can change"},
		{"upper case", `{"services":{"web":{"image":"a` + strings.ToUpper(sum) + `"}}}`, "can change"},
		{"digest and more", `{"services":{"web":{"image":"a` + sum + `0"}}}`, "can change"},
		{"digest in the middle", `{"services":{"web":{"image":"a` + sum + ` b"}}}`, "can change"},
		{"two digests", `{"services":{"web":{"image":"a` + sum + sum + `"}}}`, "can change"},
		{"nothing before", `{"services":{"web":{"image":"` + sum + `"}}}`, "can change"},
		{"no services", `{"services":{}}`, "no services"},
		{"noise", `hello`, "read docker compose's model"},
	} {
		err := checkPinned([]byte(tt.model))
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wantErr)
		}
	}
}

func FuzzCheckPinned(f *testing.F) {
	f.Add([]byte(`{"services":{"web":{"image":"nginx` + sum + `"}}}`))
	f.Add([]byte(`{"services":{"web":{"build":{"context":"."}}}}`))
	f.Fuzz(func(t *testing.T, model []byte) {
		if err := checkPinned(model); err == nil && !strings.Contains(string(model), "sha256") {
			t.Errorf("accepted %q", model)
		}
	})
}
