package web

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
)

//go:embed style.css
var style string

// Style is the style sheet of all pages, for a style element of a page that
// stands elsewhere.
func Style() string { return style }

// Policy is the header value for pages with one style element, of this content:
// it allows nothing else. No script, no frame, no form, no foreign byte.
func Policy(style string) string {
	sum := sha256.Sum256([]byte(style))
	return fmt.Sprintf(
		"default-src 'none'; style-src 'sha256-%s'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:]))
}

// ContentSecurityPolicy is the Policy of the pages of this package.
var ContentSecurityPolicy = Policy(style)
