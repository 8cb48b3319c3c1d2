package structure

import (
	"debug/dwarf"
	"debug/elf"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxGuestLines bounds our own code in the guest, in lines with code on them, of
// what the linker put into guest-init and guestd (decision 26).
const maxGuestLines = 8000

// TestGuestIsSmall counts our own Go code that the guest runs: every package
// that it links, without the functions, variables and types that the linker left
// out since nothing uses them, and without constants that nothing which it kept
// names. Blank lines and comments do not count.
func TestGuestIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the guest's programs")
	}
	kept := map[string]bool{}
	for _, program := range []string{"guest-init", "guestd"} {
		binary := filepath.Join(t.TempDir(), program)
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/"+program)
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-trimpath -buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
		symbols(t, binary, kept)
	}
	lines, linked := map[string]int{}, map[string]int{}
	all, total := 0, 0
	guest := guestFiles(t)
	constants(t, guest, kept)
	for pkg, files := range guest {
		for _, file := range files {
			n, left := count(t, pkg, file, kept)
			lines[pkg] += n
			linked[pkg] += n - left
		}
		all += lines[pkg]
		total += linked[pkg]
	}
	for pkg := range lines {
		t.Logf("%5d of %5d  %s", linked[pkg], lines[pkg], strings.TrimPrefix(pkg, module+"/"))
	}
	t.Logf("%5d of %5d lines of code are linked into guest-init and guestd, of which there may be %d", total, all, maxGuestLines)
	if total > maxGuestLines {
		t.Errorf("the guest links %d lines of our code, want at most %d", total, maxGuestLines)
	}
	if total < all/2 {
		t.Errorf("only %d of %d lines are linked: the count has lost functions", total, all)
	}
}

// runtimeType is how the runtime's description of a type spells its name: of types
// that only reflection sees, such as those of messages, nothing else is there.
var runtimeType = regexp.MustCompile(`\*\w+\.\w+`)

// symbols adds the names of the functions in a binary, those that were put
// into their callers included, of its variables and of its types.
func symbols(t *testing.T, binary string, kept map[string]bool) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range table {
		kept[s.Name] = true
	}
	info, err := file.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	names, used := map[dwarf.Offset]string{}, map[dwarf.Offset]bool{}
	for r := info.Reader(); ; {
		entry, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if entry == nil {
			break
		}
		switch entry.Tag {
		case dwarf.TagTypedef, dwarf.TagStructType, dwarf.TagArrayType, dwarf.TagBaseType: // with the names of Go
			if name, ok := entry.Val(dwarf.AttrName).(string); ok {
				kept[name] = true
			}
			continue
		case dwarf.TagSubprogram, dwarf.TagInlinedSubroutine:
		default:
			continue
		}
		at := entry.Offset
		if origin, ok := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok {
			at = origin
		}
		if name, ok := entry.Val(dwarf.AttrName).(string); ok {
			names[at] = name
		}
		// What is described once for all its inlined copies has no code of its own.
		if entry.Val(dwarf.AttrLowpc) != nil || entry.Val(dwarf.AttrRanges) != nil {
			used[at] = true
		}
	}
	for at := range used {
		kept[names[at]] = true
	}
	raw, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range runtimeType.FindAllString(string(raw), -1) {
		kept[name] = true
	}
	for name := range kept {
		if at := strings.Index(name, "["); at >= 0 && strings.HasPrefix(name, module) { // type arguments
			kept[name[:at]+name[strings.LastIndex(name, "]")+1:]] = true
		}
	}
}

// guestFiles lists our files that the guest is made of, by import path.
func guestFiles(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{range $.GoFiles}} {{$.Dir}}/{{.}}{{end}}{{end}}{{end}}",
		"./cmd/guest-init", "./cmd/guestd")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 {
			files[words[0]] = words[1:]
		}
	}
	return files
}

// part is what is linked as a whole, or not at all.
type part struct {
	node ast.Node
	tok  token.Token // FUNC, VAR, TYPE or CONST
}

// parts are those of a file.
func parts(file *ast.File) (all []part) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			all = append(all, part{d, token.FUNC})
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if d.Tok != token.IMPORT {
					all = append(all, part{spec, d.Tok})
				}
			}
		}
	}
	return all
}

// isKept reports whether a part of a file is in the binaries.
func isKept(pkg string, file *ast.File, p part, kept map[string]bool) bool {
	pkg = linked(pkg, file)
	switch n := p.node.(type) {
	case *ast.FuncDecl:
		return kept[symbol(pkg, n)]
	case *ast.TypeSpec: // an alias has no name in the binary
		return n.Assign.IsValid() || kept[pkg+"."+n.Name.Name] || kept["*"+file.Name.Name+"."+n.Name.Name]
	case *ast.ValueSpec:
		return slices.ContainsFunc(n.Names, func(name *ast.Ident) bool { return name.Name == "_" || kept[pkg+"."+name.Name] })
	}
	return true
}

// linked is what the linker calls the package of a file.
func linked(pkg string, file *ast.File) string {
	if file.Name.Name == "main" {
		return "main"
	}
	return pkg
}

// constants adds the constants that something kept names, by whatever name is the
// same: no binary has a symbol of them.
func constants(t *testing.T, guest map[string][]string, kept map[string]bool) {
	t.Helper()
	named := map[string]bool{}
	waiting := map[string][]*ast.ValueSpec{} // by package
	name := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				named[id.Name] = true
			}
			return true
		})
	}
	for pkg, files := range guest {
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts(file) {
				if p.tok == token.CONST {
					own := linked(pkg, file)
					waiting[own] = append(waiting[own], p.node.(*ast.ValueSpec))
				} else if isKept(pkg, file, p, kept) {
					name(p.node)
				}
			}
		}
	}
	for more := true; more; { // constants name constants
		more = false
		for pkg, specs := range waiting {
			for _, spec := range specs {
				for _, id := range spec.Names {
					if named[id.Name] && !kept[pkg+"."+id.Name] {
						kept[pkg+"."+id.Name], more = true, true
						name(spec)
					}
				}
			}
		}
	}
}

// count returns the lines of file with code on them, and how many of them are
// in functions, variables, types and constants that are not kept.
func count(t *testing.T, pkg, file string, kept map[string]bool) (lines, left int) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	code := codeLines(source)
	leave := func(n ast.Node) {
		for line := set.Position(n.Pos()).Line; line <= set.Position(n.End()).Line; line++ {
			if code[line] {
				left++
			}
		}
	}
	for _, part := range parts(parsed) {
		if !isKept(pkg, parsed, part, kept) {
			leave(part.node)
		}
	}
	return len(code), left
}

// codeLines are the numbers of the lines that a token begins, ends or spans.
func codeLines(source []byte) map[int]bool {
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	code := map[int]bool{}
	for {
		at, tok, text := s.Scan()
		if tok == token.EOF {
			return code
		}
		if tok == token.SEMICOLON && text == "\n" {
			continue
		}
		first := set.Position(at).Line
		for line := range 1 + strings.Count(text, "\n") {
			code[first+line] = true
		}
	}
}

// symbol is the linker's name of a function: pkg.Func, pkg.Type.Method or
// pkg.(*Type).Method.
func symbol(pkg string, fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return pkg + "." + fn.Name.Name
	}
	receiver := fn.Recv.List[0].Type
	star, pointer := receiver.(*ast.StarExpr)
	if pointer {
		receiver = star.X
	}
	if index, ok := receiver.(*ast.IndexExpr); ok {
		receiver = index.X
	}
	typ := receiver.(*ast.Ident).Name
	if pointer {
		typ = "(*" + typ + ")"
	}
	return pkg + "." + typ + "." + fn.Name.Name
}
