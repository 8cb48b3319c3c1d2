// Package verifier is the verifier as a web page and as a package for
// JavaScript: what `secretvm verify` decides, compiled to WebAssembly, with
// nothing between the machine's bytes and the reader but the reader's browser.
//
// This Go package is the seam: named bytes in, one JSON document out, pure and
// bounded, so that what the page does is tested and fuzzed natively.
// cmd/verify-wasm puts it under JavaScript; package/ is the npm-style package
// around that, page/ the page around the package; scripts/verifier builds all.
package verifier
