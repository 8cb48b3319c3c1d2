package collateral

import (
	"fmt"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// QEIdentity says what Intel's quoting enclave looks like.
type QEIdentity struct {
	ID                      string     `json:"id"`      // IDTDQE or IDQE
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

// Identifiers of the quoting enclaves.
const (
	IDTDQE = "TD_QE" // quotes TDX machines
	IDQE   = "QE"    // quotes SGX enclaves
)

// ParseQEIdentity reads the signed bytes of a QE identity and refuses what is
// not for the quoting enclave of the given identifier or not of version 2.
func ParseQEIdentity(inner []byte, id string) (q QEIdentity, err error) {
	r := newText(inner)
	fields := 0
	for g := r.object(); r.more(&g); {
		fields++
		switch string(r.name(&g)) {
		case "id":
			q.ID = r.string()
		case "version":
			q.Version = r.int(maxNumber)
		case "issueDate":
			q.IssueDate = r.time()
		case "nextUpdate":
			q.NextUpdate = r.time()
		case "tcbEvaluationDataNumber":
			q.TCBEvaluationDataNumber = r.int(maxNumber)
		case "miscselect":
			q.MiscSelect = r.hex(4)
		case "miscselectMask":
			q.MiscSelectMask = r.hex(4)
		case "attributes":
			q.Attributes = r.hex(16)
		case "attributesMask":
			q.AttributesMask = r.hex(16)
		case "mrsigner":
			q.MRSigner = r.hex(32)
		case "isvprodid":
			q.ISVProdID = r.int(maxSVN)
		case "tcbLevels":
			q.TCBLevels = readLevels(&r, r.svn)
		default:
			fields--
			r.skip()
		}
	}
	if err := r.end(); err != nil {
		return q, vm.Refuse(vm.CodeMalformed, "QE identity: %v", err)
	}
	switch {
	case q.ID != id:
		return q, vm.Refuse(vm.CodeCollateral, "QE identity is for another enclave").On("id", fmt.Sprintf("%.40q", q.ID), fmt.Sprintf("%q", id))
	case q.Version != 2:
		return q, vm.Refuse(vm.CodeCollateral, "QE identity has another version").On("version", fmt.Sprint(q.Version), "2")
	case fields != 12:
		return q, vm.Refuse(vm.CodeMalformed, "QE identity: it has %d of the 12 fields of version 2", fields)
	}
	return q, nil
}
