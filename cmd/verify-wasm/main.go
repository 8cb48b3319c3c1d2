//go:build js && wasm

// Command verify-wasm is the verifier for JavaScript. It sets the global
// secretvmVerify, a function (operation, Uint8Array, {name: Uint8Array}) →
// JSON text, and waits; package/index.js of web/verifier takes it from there.
package main

import "syscall/js"

func main() {
	js.Global().Set("secretvmVerify", js.FuncOf(verify))
	select {} // the program stays for the page's life
}
