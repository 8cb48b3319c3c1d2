package collateral

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// QEIdentity says what Intel's TD quoting enclave looks like.
type QEIdentity struct {
	ID                      string     `json:"id"`      // "TD_QE"
	Version                 int        `json:"version"` // 2
	IssueDate               time.Time  `json:"issueDate"`
	NextUpdate              time.Time  `json:"nextUpdate"`
	TCBEvaluationDataNumber int        `json:"tcbEvaluationDataNumber"`
	MiscSelect              Hex        `json:"miscselect"`     // 4 bytes, in the order of the report
	MiscSelectMask          Hex        `json:"miscselectMask"` // 4 bytes
	Attributes              Hex        `json:"attributes"`     // 16 bytes, in the order of the report
	AttributesMask          Hex        `json:"attributesMask"` // 16 bytes
	MRSigner                Hex        `json:"mrsigner"`       // 32 bytes
	ISVProdID               int        `json:"isvprodid"`
	TCBLevels               []SVNLevel `json:"tcbLevels"`
}

// ParseQEIdentity reads the signed bytes of a QE identity and refuses what is
// not for the TD quoting enclave or not of version 2.
func ParseQEIdentity(inner []byte) (q QEIdentity, err error) {
	if err := json.Unmarshal(inner, &q); err != nil {
		return q, vm.Refuse(vm.CodeMalformed, "QE identity: %v", err)
	}
	switch {
	case q.ID != "TD_QE":
		return q, vm.Refuse(vm.CodeCollateral, "QE identity is for another enclave").On("id", fmt.Sprintf("%q", q.ID), `"TD_QE"`)
	case q.Version != 2:
		return q, vm.Refuse(vm.CodeCollateral, "QE identity has another version").On("version", fmt.Sprint(q.Version), "2")
	case len(q.MiscSelect) != 4 || len(q.MiscSelectMask) != 4 || len(q.Attributes) != 16 || len(q.AttributesMask) != 16 || len(q.MRSigner) != 32:
		return q, vm.Refuse(vm.CodeMalformed, "QE identity: a field has the wrong length")
	}
	return q, nil
}
