package collateral

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on numbers.
const (
	maxSVN       = 0xffff
	maxComponent = 0xffff
	maxNumber    = 1<<31 - 1
)

// ParseTCBInfo reads the signed bytes of a TCB info and refuses what is not
// for the TEE of the given identifier or not of version 3. Fields that are not
// known are passed over; known ones must all be there.
func ParseTCBInfo(inner []byte, id string) (t TCBInfo, err error) {
	r := newText(inner)
	fields := 0
	for g := r.object(); r.more(&g); {
		fields++
		switch string(r.name(&g)) {
		case "id":
			t.ID = r.string()
		case "version":
			t.Version = r.int(maxNumber)
		case "issueDate":
			t.IssueDate = r.time()
		case "nextUpdate":
			t.NextUpdate = r.time()
		case "fmspc":
			t.FMSPC = r.hex(6)
		case "pceId":
			t.PCEID = r.hex(2)
		case "tcbType":
			t.TCBType = r.int(maxNumber)
		case "tcbEvaluationDataNumber":
			t.TCBEvaluationDataNumber = r.int(maxNumber)
		case "tcbLevels":
			t.TCBLevels = readLevels(&r, r.tcb)
		case "tdxModule":
			fields--
			t.TDXModule = r.module()
		case "tdxModuleIdentities":
			fields--
			t.TDXModuleIdentities = r.moduleIdentities()
		default:
			fields--
			r.skip()
		}
	}
	if err := r.end(); err != nil {
		return t, vm.Refuse(vm.CodeMalformed, "TCB info: %v", err)
	}
	switch {
	case t.ID != id:
		return t, vm.Refuse(vm.CodeCollateral, "TCB info is for another TEE").On("id", fmt.Sprintf("%.40q", t.ID), fmt.Sprintf("%q", id))
	case t.Version != 3:
		return t, vm.Refuse(vm.CodeCollateral, "TCB info has another version").On("version", fmt.Sprint(t.Version), "3")
	case fields != 9:
		return t, vm.Refuse(vm.CodeMalformed, "TCB info: it has %d of the 9 fields of version 3", fields)
	case t.TCBType != 0:
		return t, vm.Refuse(vm.CodeCollateral, "TCB info has another type").On("tcbType", fmt.Sprint(t.TCBType), "0")
	case id == IDTDX && t.TDXModule.MRSigner == nil:
		return t, vm.Refuse(vm.CodeMalformed, "TCB info: it lacks tdxModule")
	}
	return t, t.checkLevels()
}

// checkLevels refuses levels that do not have as many components as they are
// compared with.
func (t TCBInfo) checkLevels() error {
	ofTDX := 0
	if t.ID == IDTDX {
		ofTDX = components
	}
	for i, l := range t.TCBLevels {
		if len(l.TCB.SGX) != components || len(l.TCB.TDX) != ofTDX {
			return vm.Refuse(vm.CodeMalformed, "TCB info: level %d has %d SGX and %d TDX components, want %d and %d", i, len(l.TCB.SGX), len(l.TCB.TDX), components, ofTDX)
		}
	}
	return nil
}

// readLevels reads a list of levels, whose parts are read by tcb.
func readLevels[T any](r *text, tcb func() T) (levels []Level[T]) {
	for g := r.array(); r.more(&g); {
		if len(levels) == maxLevels {
			r.fail("more than %d levels", maxLevels)
			break
		}
		var l Level[T]
		fields := 0
		for g := r.object(); r.more(&g); {
			fields++
			switch string(r.name(&g)) {
			case "tcb":
				l.TCB = tcb()
			case "tcbDate":
				l.TCBDate = r.time()
			case "tcbStatus":
				l.TCBStatus = Status(r.string())
			case "advisoryIDs":
				fields--
				l.AdvisoryIDs = r.strings()
			default:
				fields--
				r.skip()
			}
		}
		if fields != 3 {
			r.fail("a level that lacks tcb, tcbDate or tcbStatus")
		}
		levels = append(levels, l)
	}
	return levels
}

func (r *text) tcb() (t TCB) {
	there := false
	for g := r.object(); r.more(&g); {
		switch string(r.name(&g)) {
		case "sgxtcbcomponents":
			t.SGX = r.components()
		case "tdxtcbcomponents":
			t.TDX = r.components()
		case "pcesvn":
			t.PCESVN, there = r.int(maxSVN), true
		default:
			r.skip()
		}
	}
	if !there {
		r.fail("a level without pcesvn")
	}
	return t
}

func (r *text) components() []Component {
	list := make([]Component, 0, components)
	for g := r.array(); r.more(&g); {
		if len(list) == components {
			r.fail("more than %d components", components)
			break
		}
		var c Component
		there := false
		for g := r.object(); r.more(&g); {
			switch string(r.name(&g)) {
			case "svn":
				c.SVN, there = r.int(maxComponent), true
			case "category":
				c.Category = r.string()
			case "type":
				c.Type = r.string()
			default:
				r.skip()
			}
		}
		if !there {
			r.fail("a component without svn")
		}
		list = append(list, c)
	}
	return list
}
