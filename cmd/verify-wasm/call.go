//go:build js && wasm

package main

import (
	"encoding/json"
	"syscall/js"
	"time"

	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web/verifier"
)

// verify moves the arguments into Go and the result out. Sizes are looked at
// before anything is copied.
func verify(_ js.Value, args []js.Value) (answer any) {
	defer func() { // arguments of other types than documented
		if p := recover(); p != nil {
			answer = refused(vm.Refuse(vm.CodeInvalid, "verify was called with wrong arguments: %v", p))
		}
	}()
	if len(args) != 3 {
		return refused(vm.Refuse(vm.CodeInvalid, "verify takes an operation, bytes and fields"))
	}
	call := verifier.Call{Operation: args[0].String(), Fields: map[string][]byte{}, Now: time.Now()}
	var refusal *vm.Refusal
	if call.Input, refusal = taken("the input", args[1], verifier.MaxInput); refusal != nil {
		return refused(refusal)
	}
	names := js.Global().Get("Object").Call("keys", args[2])
	for i := range names.Length() {
		name := names.Index(i).String()
		limit := verifier.MaxField(name)
		if limit == 0 {
			return refused(vm.Refuse(vm.CodeInvalid, "there is no option %.40q", name))
		}
		if call.Fields[name], refusal = taken(name, args[2].Get(name), limit); refusal != nil {
			return refused(refusal)
		}
	}
	return string(verifier.Run(call))
}

// taken copies a Uint8Array of at most limit bytes.
func taken(what string, array js.Value, limit int) ([]byte, *vm.Refusal) {
	size := array.Get("byteLength").Int()
	if size > limit {
		return nil, verifier.TooLarge(what, size, limit)
	}
	b := make([]byte, size)
	js.CopyBytesToGo(b, array)
	return b, nil
}

func refused(r *vm.Refusal) string {
	b, err := json.Marshal(map[string]any{"refusal": r})
	if err != nil {
		panic(err) // a struct of strings
	}
	return string(b)
}
