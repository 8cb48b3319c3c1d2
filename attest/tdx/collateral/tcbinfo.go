package collateral

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

const components = 16

// TCBInfo lists the TCB levels of one platform family (FMSPC), best first.
type TCBInfo struct {
	ID                      string           `json:"id"`      // "TDX"
	Version                 int              `json:"version"` // 3
	IssueDate               time.Time        `json:"issueDate"`
	NextUpdate              time.Time        `json:"nextUpdate"`
	FMSPC                   Hex              `json:"fmspc"` // 6 bytes
	PCEID                   Hex              `json:"pceId"` // 2 bytes
	TCBType                 int              `json:"tcbType"`
	TCBEvaluationDataNumber int              `json:"tcbEvaluationDataNumber"`
	TDXModule               Module           `json:"tdxModule"`
	TDXModuleIdentities     []ModuleIdentity `json:"tdxModuleIdentities,omitempty"`
	TCBLevels               []TCBLevel       `json:"tcbLevels"`
}

// Module is what a genuine TDX module looks like.
type Module struct {
	MRSigner       Hex `json:"mrsigner"`       // 48 bytes
	Attributes     Hex `json:"attributes"`     // 8 bytes, in the order of the quote
	AttributesMask Hex `json:"attributesMask"` // 8 bytes
}

// ModuleIdentity lists the levels of the TDX modules of one major version.
type ModuleIdentity struct {
	ID string `json:"id"` // "TDX_" and the major version, two hex digits
	Module
	TCBLevels []SVNLevel `json:"tcbLevels"`
}

// SVNLevel is a level of an enclave or a module: everything from ISVSVN up.
type SVNLevel struct {
	TCB         SVN       `json:"tcb"`
	TCBDate     time.Time `json:"tcbDate"`
	TCBStatus   Status    `json:"tcbStatus"`
	AdvisoryIDs []string  `json:"advisoryIDs,omitempty"`
}

// SVN is the TCB of one enclave or module.
type SVN struct {
	ISVSVN int `json:"isvsvn"`
}

// TCBLevel is one level of the platform.
type TCBLevel struct {
	TCB         TCB       `json:"tcb"`
	TCBDate     time.Time `json:"tcbDate"`
	TCBStatus   Status    `json:"tcbStatus"`
	AdvisoryIDs []string  `json:"advisoryIDs,omitempty"`
}

// TCB is the least SVN of every component, 16 of each kind.
type TCB struct {
	SGX    []Component `json:"sgxtcbcomponents"`
	PCESVN int         `json:"pcesvn"`
	TDX    []Component `json:"tdxtcbcomponents"`
}

// Component is one part of the TCB, and who updates it.
type Component struct {
	SVN      int    `json:"svn"`
	Category string `json:"category,omitempty"` // "BIOS" or "OS/VMM"
	Type     string `json:"type,omitempty"`     // "Early Microcode Update" …
}

// ParseTCBInfo reads the signed bytes of a TCB info and refuses what is not
// for TDX or not of version 3.
func ParseTCBInfo(inner []byte) (t TCBInfo, err error) {
	if err := json.Unmarshal(inner, &t); err != nil {
		return t, vm.Refuse(vm.CodeMalformed, "TCB info: %v", err)
	}
	switch {
	case t.ID != "TDX":
		return t, vm.Refuse(vm.CodeCollateral, "TCB info is for another TEE").On("id", fmt.Sprintf("%q", t.ID), `"TDX"`)
	case t.Version != 3:
		return t, vm.Refuse(vm.CodeCollateral, "TCB info has another version").On("version", fmt.Sprint(t.Version), "3")
	case t.TCBType != 0:
		return t, vm.Refuse(vm.CodeCollateral, "TCB info has another type").On("tcbType", fmt.Sprint(t.TCBType), "0")
	case len(t.FMSPC) != 6 || len(t.PCEID) != 2:
		return t, vm.Refuse(vm.CodeMalformed, "TCB info: fmspc has %d bytes and pceId %d, want 6 and 2", len(t.FMSPC), len(t.PCEID))
	}
	if err := t.TDXModule.check("tdxModule"); err != nil {
		return t, err
	}
	for _, m := range t.TDXModuleIdentities {
		if err := m.check("TDX module identity " + m.ID); err != nil {
			return t, err
		}
	}
	for i, l := range t.TCBLevels {
		if len(l.TCB.SGX) != components || len(l.TCB.TDX) != components {
			return t, vm.Refuse(vm.CodeMalformed, "TCB info: level %d has %d SGX and %d TDX components, want %d of each", i, len(l.TCB.SGX), len(l.TCB.TDX), components)
		}
	}
	return t, nil
}

func (m Module) check(what string) error {
	if len(m.MRSigner) != 48 || len(m.Attributes) != 8 || len(m.AttributesMask) != 8 {
		return vm.Refuse(vm.CodeMalformed, "TCB info: %s: mrsigner, attributes and mask have %d, %d and %d bytes, want 48, 8 and 8",
			what, len(m.MRSigner), len(m.Attributes), len(m.AttributesMask))
	}
	return nil
}

// ModuleOf returns the identity of the TDX modules with the given major
// version, which is above 0.
func (t TCBInfo) ModuleOf(major byte) (ModuleIdentity, bool) {
	for _, m := range t.TDXModuleIdentities {
		if strings.EqualFold(m.ID, ModuleID(major)) {
			return m, true
		}
	}
	return ModuleIdentity{}, false
}

// ModuleID is the identifier of a module's major version: "TDX_01".
func ModuleID(major byte) string { return fmt.Sprintf("TDX_%02X", major) }
