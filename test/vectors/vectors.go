// Package vectors gives tests the independent vectors: captures of real
// machines, collateral and digests of public projects. They lie beside the
// repository and are no part of it; tests that need them skip where they are
// not, and say so.
package vectors

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Folder returns the folder of the vectors, ../shared/vectors of the
// repository, or skips the test.
func Folder(t testing.TB) string {
	t.Helper()
	folder, err := find()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("independent vectors are not there, skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// Read returns a file of the vectors, or skips the test where there are none.
// A name that is missing among them is an error of the test.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Folder(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ReadIfThere is Read for a file that not every set of the vectors has: the
// test is skipped where it is missing.
func ReadIfThere(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Folder(t), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not among the vectors: skipped", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Seed returns a file of the vectors for a corpus, and false where there are none.
func Seed(name string) ([]byte, bool) {
	folder, err := find()
	if err != nil {
		return nil, false
	}
	b, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	return b, err == nil
}

// find looks for the repository above the test's folder, and beside it.
func find() (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(root)
		if parent == root {
			return "", errors.New("no go.mod above the test's folder")
		}
		root = parent
	}
	folder := filepath.Join(root, "..", "shared", "vectors")
	_, err = os.Stat(folder)
	return folder, err
}
