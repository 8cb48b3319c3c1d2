package vm

import (
	"errors"
	"fmt"
	"strings"
)

// Code says in one stable word why something was refused. Codes are part of
// the interface of the chain and of verify: they are added, never changed.
type Code string

// The refusal codes.
const (
	CodeMalformed   Code = "malformed"             // not the format it claims to be
	CodeTooLarge    Code = "too-large"             // over a documented bound
	CodeSignature   Code = "bad-signature"         // a signature or hash link does not hold
	CodeChain       Code = "untrusted-chain"       // does not end in an accepted root
	CodeRevoked     Code = "revoked"               // a certificate is on its CRL
	CodeExpired     Code = "expired"               // evidence or collateral outside its validity
	CodeTCB         Code = "tcb-not-accepted"      // platform TCB status below the policy
	CodeQEIdentity  Code = "qe-not-accepted"       // quoting enclave is not Intel's
	CodeModule      Code = "module-not-accepted"   // TDX module is not one that Intel lists
	CodeDebug       Code = "debug"                 // the machine can be debugged
	CodeAttributes  Code = "attributes"            // TD attributes or XFAM outside the policy
	CodeHardware    Code = "hardware-not-accepted" // genuine, and not a machine that the policy names
	CodeCollateral  Code = "collateral"            // missing or does not fit the quote
	CodeEvents      Code = "events"                // event list does not explain the registers
	CodeGPU         Code = "gpu-not-accepted"      // kind, architecture or number of the GPUs and switches
	CodeGPUMeasured Code = "gpu-measurement"       // a GPU measures something else than NVIDIA's reference documents say
	CodeReportData  Code = "report-data"           // the quote is not about this request
	CodeStale       Code = "stale"                 // block hash unknown, too old, or nonce not ours
	CodeReplayed    Code = "replayed"              // the very request was seen before
	CodeNoService   Code = "no-such-service"       //
	CodeImage       Code = "image-not-allowed"     // registers match no active image of the service
	CodePending     Code = "image-pending"         // registered, and not active before the service's upgrade delay is over
	CodeRetired     Code = "image-revoked"         // registered once, and revoked by the owner
	CodeConfig      Code = "config-mismatch"       // config or its digest differs
	CodeCompose     Code = "compose-mismatch"      // compose digest differs
	CodePolicy      Code = "policy"                // genuine, but not what the policy accepts
	CodeDevImage    Code = "dev-image"             // an image for development, whose operator may look into it
	CodePermission  Code = "permission"            // the signer may not do this
	CodeExists      Code = "exists"                // already there, and never replaced
	CodeFrozen      Code = "frozen"                // the service is frozen and cannot change so
	CodeInvalid     Code = "invalid"               // a field's value has no meaning
	CodeUnavailable Code = "unavailable"           // could not be reached; nothing was decided
	CodeInternal    Code = "internal"              // a bug; nothing was released
)

// Refusal is an error that names what was refused: which field, what was
// found, what was wanted, and what to do about it.
type Refusal struct {
	Code   Code   `json:"code"`
	Field  string `json:"field,omitempty"`
	Found  string `json:"found,omitempty"`
	Wanted string `json:"wanted,omitempty"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// Refuse makes a Refusal with a reason.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// On names the field that was refused and what it held against what was wanted.
func (r *Refusal) On(field, found, wanted string) *Refusal {
	r.Field, r.Found, r.Wanted = field, found, wanted
	return r
}

// Try adds the next thing to try.
func (r *Refusal) Try(hint string) *Refusal {
	r.Hint = hint
	return r
}

// Error is one line: reason, field with both values, and the code.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.Reason)
	if r.Field != "" {
		fmt.Fprintf(&b, ": %s is %s", r.Field, r.Found)
		if r.Wanted != "" {
			fmt.Fprintf(&b, ", want %s", r.Wanted)
		}
	}
	fmt.Fprintf(&b, " [%s]", r.Code)
	return b.String()
}

// CodeOf returns the code of the Refusal in err's chain, or CodeInternal.
func CodeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return CodeInternal
}
