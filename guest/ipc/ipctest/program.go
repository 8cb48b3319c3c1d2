// Package ipctest lets a test's own program be the program of services.
package ipctest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Main is for TestMain: it runs the tests, or the service of the given part where
// it was started as that.
func Main(m *testing.M, part string, run func() error) {
	if len(os.Args) != 2 || os.Args[1] != part {
		os.Exit(m.Run())
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Program copies the test's own program into a folder of its own, which it returns
// too, to where any user can start it.
func Program(t testing.TB) (path, folder string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(folder, "program")
	for _, err := range []error{os.WriteFile(path, text, 0o755), os.Chmod(folder, 0o711)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path, folder
}
