package soft

import (
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Op names what a guest asks of its soft TEE.
type Op string

// The operations.
const (
	OpExtend Op = "extend" // fold Digest into RTMR3; the answer holds the registers after it
	OpRead   Op = "read"   // the answer holds the current registers
	OpQuote  Op = "quote"  // the answer holds a TDX v4 quote over ReportData, and its collateral
	OpLog    Op = "log"    // the answer holds the boot log of RTMR0 to RTMR2, if there is one
)

// Request is one question of the guest. Its JSON form is the payload of a frame:
//
//	{"id":1,"op":"extend","register":3,"digest":"<96 hex digits>"}
//	{"id":2,"op":"read"}
//	{"id":3,"op":"quote","report_data":"<base64 of 64 bytes>"}
//	{"id":4,"op":"log"}
type Request struct {
	ID         uint64       `json:"id"` // chosen by the guest, not 0; the answer repeats it
	Op         Op           `json:"op"`
	Register   int          `json:"register,omitempty"`
	Digest     *vm.Register `json:"digest,omitempty"`
	ReportData []byte       `json:"report_data,omitempty"`
}

// Answer is what came of the Request with the same ID. Either Error is set, or
// the fields that the operation documents.
type Answer struct {
	ID          uint64          `json:"id"` // 0: the request could not be read
	Error       string          `json:"error,omitempty"`
	Measurement *vm.Measurement `json:"measurement,omitempty"`
	Quote       []byte          `json:"quote,omitempty"`
	Collateral  *vm.Collateral  `json:"collateral,omitempty"`
	BootLog     []byte          `json:"boot_log,omitempty"` // as vm.Evidence has it
}

// ParseRequest reads the payload of a request frame. Unknown operations, unknown
// fields, another register than RTMR3 and fields that do not belong to the
// operation are errors.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if err := vm.DecodeStrict(b, &r); err != nil {
		return r, fmt.Errorf("decode soft TEE request: %w", err)
	}
	return r, r.validate()
}

func (r Request) validate() error {
	bare := r.Register == 0 && r.Digest == nil
	switch {
	case r.ID == 0:
		return errors.New("soft TEE request has no id")
	case r.Op == OpExtend && r.Register != vm.RuntimeRegister:
		return fmt.Errorf("soft TEE request extends RTMR%d, only RTMR%d is open to the guest", r.Register, vm.RuntimeRegister)
	case r.Op == OpExtend && (r.Digest == nil || r.ReportData != nil):
		return errors.New("soft TEE request to extend wants a digest and nothing else")
	case (r.Op == OpRead || r.Op == OpLog) && (!bare || r.ReportData != nil):
		return fmt.Errorf("soft TEE request of operation %s wants no argument", r.Op)
	case r.Op == OpQuote && (!bare || len(r.ReportData) != 64):
		return fmt.Errorf("soft TEE request to quote has %d bytes of report data, want 64 and nothing else", len(r.ReportData))
	case r.Op != OpExtend && r.Op != OpRead && r.Op != OpQuote && r.Op != OpLog:
		return fmt.Errorf("soft TEE request has operation %q, want extend, read, quote or log", r.Op)
	}
	return nil
}

// ParseAnswer reads the payload of an answer frame to a request of the given
// operation, and checks that it holds what that operation promises.
func ParseAnswer(op Op, b []byte) (Answer, error) {
	var a Answer
	if err := vm.DecodeStrict(b, &a); err != nil {
		return a, fmt.Errorf("decode soft TEE answer: %w", err)
	}
	switch {
	case a.Error != "":
		return a, nil
	case op == OpQuote && (len(a.Quote) == 0 || len(a.Quote) > vm.MaxQuoteSize):
		return a, fmt.Errorf("soft TEE answer has a quote of %d bytes, want 1 to %d", len(a.Quote), vm.MaxQuoteSize)
	case len(a.BootLog) > vm.MaxBootLogSize:
		return a, fmt.Errorf("soft TEE answer has a boot log of %d bytes, want at most %d", len(a.BootLog), vm.MaxBootLogSize)
	case (op == OpExtend || op == OpRead) && a.Measurement == nil:
		return a, errors.New("soft TEE answer lacks the measurement")
	}
	return a, nil
}
