package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOCIRefuses(t *testing.T) {
	bad := t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, "images.yaml"), []byte("images: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		args     []string
		wantCode int
		wantErr  string
	}{
		{"no folder", []string{"oci", "build"}, exitUsage, "accepts 1 arg"},
		{"no description", []string{"oci", "build", t.TempDir()}, exitUsage, "has no images.yaml"},
		{"bad description", []string{"oci", "serve", bad}, exitRefused, "has no images"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(context.Background(), c.args, nil, &out, &errs)
			if code != c.wantCode || !strings.Contains(errs.String(), c.wantErr) {
				t.Fatalf("exit code %d, want %d: %s", code, c.wantCode, errs.String())
			}
		})
	}
}
