package collateral

import (
	"fmt"
	"strings"
	"time"
)

const components = 16

// TCBInfo lists the TCB levels of one platform family (FMSPC), best first.
type TCBInfo struct {
	ID                      string           `json:"id"`      // IDTDX or IDSGX
	Version                 int              `json:"version"` // 3
	IssueDate               time.Time        `json:"issueDate"`
	NextUpdate              time.Time        `json:"nextUpdate"`
	FMSPC                   Hex              `json:"fmspc"` // 6 bytes
	PCEID                   Hex              `json:"pceId"` // 2 bytes
	TCBType                 int              `json:"tcbType"`
	TCBEvaluationDataNumber int              `json:"tcbEvaluationDataNumber"`
	TDXModule               Module           `json:"tdxModule,omitzero"`
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

// Level says what a TCB is worth that has at least the parts of T.
type Level[T any] struct {
	TCB         T         `json:"tcb"`
	TCBDate     time.Time `json:"tcbDate"`
	TCBStatus   Status    `json:"tcbStatus"`
	AdvisoryIDs []string  `json:"advisoryIDs,omitempty"`
}

// SVNLevel is a level of an enclave or a module: everything from ISVSVN up.
type SVNLevel = Level[SVN]

// TCBLevel is one level of the platform.
type TCBLevel = Level[TCB]

// SVN is the TCB of one enclave or module.
type SVN struct {
	ISVSVN int `json:"isvsvn"`
}

// TCB is the least SVN of every component, 16 of each kind.
type TCB struct {
	SGX    []Component `json:"sgxtcbcomponents"`
	PCESVN int         `json:"pcesvn"`
	TDX    []Component `json:"tdxtcbcomponents,omitempty"`
}

// Component is one part of the TCB, and who updates it.
type Component struct {
	SVN      int    `json:"svn"`
	Category string `json:"category,omitempty"` // "BIOS" or "OS/VMM"
	Type     string `json:"type,omitempty"`     // "Early Microcode Update" …
}

// Identifiers of TCB infos.
const (
	IDTDX = "TDX"
	IDSGX = "SGX"
)

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
