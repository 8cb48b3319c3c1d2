package structure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines is the ceiling for one file; 80 to 200 is normal.
const maxLines = 500

func TestFilesAreShort(t *testing.T) {
	for _, file := range goFiles(t, ".") {
		if generated(file) {
			continue
		}
		if n := strings.Count(read(t, file), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, want at most %d: split it by subject", file, n, maxLines)
		}
	}
}

func TestMainIsShort(t *testing.T) {
	for _, file := range goFiles(t, ".") {
		if filepath.Base(file) != "main.go" {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "main" {
				if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line; n >= 30 {
					t.Errorf("%s: main has %d lines, want under 30", file, n)
				}
			}
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, file := range goFiles(t, ".") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		seen[dir] = true
		documented[dir] = documented[dir] || f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != ""
	}
	for dir := range seen {
		if !documented[dir] {
			t.Errorf("package in %s has no doc comment", dir)
		}
	}
}

var vagueName = regexp.MustCompile(`(^|/)(utils?|common|helpers?|managers?|base|misc)(/|\.go$)`)

func TestNamesAreNouns(t *testing.T) {
	for _, file := range goFiles(t, ".") {
		if rel, _ := filepath.Rel(root(t), file); vagueName.MatchString(rel) {
			t.Errorf("%s: name it after its subject", rel)
		}
	}
}

// goFiles returns the absolute paths of the Go files below dir, without folders that
// Go ignores.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(root(t), dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "dist" || d.Name() == "testdata") && path != root(t) {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no Go files below %s", dir)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func generated(file string) bool {
	return strings.HasSuffix(file, ".pb.go") || strings.HasSuffix(file, ".pb.gw.go")
}
