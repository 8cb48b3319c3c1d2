package types

import (
	errorsmod "cosmossdk.io/errors"

	"github.com/secretvm/secretvm/vm"
)

// refusalCodes lists the refusal codes that end a transaction, in the order of their
// ABCI numbers, which are in the results hash of every block: append only.
var refusalCodes = []vm.Code{
	vm.CodeInternal, vm.CodeMalformed, vm.CodeTooLarge, vm.CodeInvalid, vm.CodePermission,
	vm.CodeNoService, vm.CodeExists, vm.CodeStale, vm.CodeReplayed, vm.CodeSignature, vm.CodeUnavailable, vm.CodeExpired,
	vm.CodeFrozen,
	// What is wrong with a machine that asks to be a node: on releases these are
	// refusals on the ledger.
	vm.CodeChain, vm.CodeRevoked, vm.CodeTCB, vm.CodeQEIdentity, vm.CodeModule, vm.CodeDebug, vm.CodeAttributes, vm.CodeHardware,
	vm.CodeCollateral, vm.CodeEvents, vm.CodeReportData, vm.CodeImage, vm.CodePending, vm.CodeRetired, vm.CodeConfig, vm.CodeCompose,
}

// firstNumber is the ABCI number of the first code; 1 is the SDK's own.
const firstNumber = 2

var registered = func() map[vm.Code]*errorsmod.Error {
	m := make(map[vm.Code]*errorsmod.Error, len(refusalCodes))
	for i, code := range refusalCodes {
		m[code] = errorsmod.Register(ModuleName, uint32(i+firstNumber), string(code))
	}
	return m
}()

// Fail makes the error with which a transaction fails because of r. Only its
// number is part of consensus; the text is for the sender.
func Fail(r *vm.Refusal) error {
	e, ok := registered[r.Code]
	if !ok {
		e = registered[vm.CodeInternal]
	}
	text := *r
	text.Code = ""
	reason := text.Reason
	if text.Field != "" {
		reason += ": " + text.Field + " is " + text.Found
		if text.Wanted != "" {
			reason += ", want " + text.Wanted
		}
	}
	return errorsmod.Wrap(e, reason)
}

// CodeOf returns the refusal code of an ABCI result of this module.
func CodeOf(codespace string, number uint32) (vm.Code, bool) {
	if codespace != ModuleName || number < firstNumber || int(number-firstNumber) >= len(refusalCodes) {
		return vm.CodeInternal, false
	}
	return refusalCodes[number-firstNumber], true
}

// CodeOfError returns the refusal code of an error of this module.
func CodeOfError(err error) (vm.Code, bool) {
	codespace, number, _ := errorsmod.ABCIInfo(err, false)
	return CodeOf(codespace, number)
}
