package workload

import (
	"strings"
	"testing"
)

const sum = "@sha256:70a0be653039d66000f9fd681862b3eb801e02d044864f87ae6f8c7caa49eb82"

// TestW1_MovedTag: an image that could be another one tomorrow does not run
// unless the measured config accepts that.
func TestW1_MovedTag(t *testing.T) {
	for _, tt := range []struct{ name, file, wantErr string }{
		{"pinned", "services: {web: {image: nginx" + sum + "}, db: {image: 'localhost:5000/a/b:7" + sum + "'}}", ""},
		{"tag", "services: {web: {image: 'nginx:1.29'}}", `service web: the image "nginx:1.29" can change behind its name: write image: nginx:1.29@sha256:<digest>`},
		{"second service", "services: {a: {image: a" + sum + "}, b: {image: redis}}", "service b"},
		{"service that a profile starts", "services: {a: {image: a" + sum + "}, b: {image: redis, profiles: [debug]}}", "service b"},
		{"variable", "services: {web: {image: 'nginx${TAG}" + sum + "'}}", "can change"},
		{"build", "services: {web: {build: .}}", "it has no image"},
		{"short digest", "services: {web: {image: 'a@sha256:70a0'}}", "can change"},
		{"upper case", "services: {web: {image: a" + strings.ToUpper(sum) + "}}", "can change"},
		{"digest and more", "services: {web: {image: a" + sum + "0}}", "can change"},
		{"two documents", "services: {web: {image: a" + sum + "}}\n---\nservices: {web: {image: redis}}\n", "second document"},
		{"key twice", "services: {web: {image: a" + sum + ", image: redis}}", "second time"},
		{"no services", "services: {}", "no services"},
		{"noise", "hello", "not a mapping"},
	} {
		err := CheckPinned([]byte(tt.file))
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wantErr)
		}
	}
}
