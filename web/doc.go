// Package web renders the pages that people read. It is pure: values in, HTML
// out. Pages carry no script and load nothing; every value is escaped by
// html/template; ContentSecurityPolicy allows the one embedded style sheet by
// its digest and nothing else.
package web
