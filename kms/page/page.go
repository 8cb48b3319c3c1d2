package page

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"strings"

	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web"
)

//go:embed page.css
var ownStyle string

//go:embed *.html
var sources embed.FS

// style is that of the attestation page and what services need beside it.
var style = web.Style() + ownStyle

// ContentSecurityPolicy is the header value of every page: nothing but its own
// style sheet.
var ContentSecurityPolicy = web.Policy(style)

// heading is what the template "head" shows.
type heading struct {
	Title string
	Chain chainView
}

// shown is every view: all show the chain.
type shown interface{ Chain() chainView }

// Chain returns c itself, for the templates of views that embed it.
func (c chainView) Chain() chainView { return c }

var templates = template.Must(template.New("pages").Funcs(template.FuncMap{
	"style":        func() template.CSS { return template.CSS(style) }, // ours, embedded: not input
	"head":         func(title string, v shown) heading { return heading{title, v.Chain()} },
	"clock":        clock,
	"count":        func(images []imageView) uint64 { return uint64(len(images)) },
	"deed":         deed,
	"hardware":     hardware,
	"hex":          func(b []byte) string { return hex.EncodeToString(b) },
	"left":         left,
	"machineClock": machineClock,
	"meaning":      meaning,
	"span":         span,
	"starts":       func(id, owner string) bool { return strings.HasPrefix(id, owner+"/") },
}).ParseFS(sources, "*.html"))

// render makes a page.
func render(name string, v shown) ([]byte, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return readable(b.Bytes()), nil
}

// hardware names the environment that a grant's evidence was from.
func hardware(tee string) string {
	switch vm.TEE(tee) {
	case vm.TDX:
		return "Intel TDX"
	case vm.SNP:
		return "AMD SEV-SNP"
	}
	return "SOFT TEE, which protects nothing"
}
