package collateral

import (
	"fmt"
	"slices"
)

// Platform is the TCB that a quote shows.
type Platform struct {
	SGX    [components]int  // from the PCK certificate
	PCESVN int              // from the PCK certificate
	TDX    [components]byte // TEE_TCB_SVN of the body; [1] is the module's major version
}

// Find returns the index of the first level that the platform reaches, or -1:
// the PCS lists the best one first.
func (t *TCBInfo) Find(p *Platform) int {
	return slices.IndexFunc(t.TCBLevels, func(l TCBLevel) bool { return l.TCB.reachedBy(p) })
}

// reachedBy is Short without the words.
func (l *TCB) reachedBy(p *Platform) bool {
	for i := range l.SGX {
		if p.SGX[i] < l.SGX[i].SVN {
			return false
		}
	}
	for i := range l.TDX {
		if !(i < 2 && p.TDX[1] > 0) && int(p.TDX[i]) < l.TDX[i].SVN {
			return false
		}
	}
	return p.PCESVN >= l.PCESVN
}

// Short lists what the platform lacks for a level: nothing when it reaches it.
// The first two TDX components are the module's own version. From major
// version 1 on they are judged by the module's identity instead.
func (l TCB) Short(p Platform) []string {
	var short []string
	lacks := func(what string, c Component, has int) {
		if has >= c.SVN {
			return
		}
		name := what
		if c.Type != "" {
			name += " (" + c.Type + ", updated by " + c.Category + ")"
		}
		short = append(short, fmt.Sprintf("%s has SVN %d, want %d", name, has, c.SVN))
	}
	for i, c := range l.SGX {
		lacks(fmt.Sprintf("SGX component %d", i+1), c, p.SGX[i])
	}
	lacks("PCE", Component{SVN: l.PCESVN}, p.PCESVN)
	for i, c := range l.TDX {
		if i < 2 && p.TDX[1] > 0 {
			continue
		}
		lacks(fmt.Sprintf("TDX component %d", i+1), c, int(p.TDX[i]))
	}
	return short
}

// FindSVN returns the index of the first level that svn reaches, or -1.
func FindSVN(levels []SVNLevel, svn int) int {
	return slices.IndexFunc(levels, func(l SVNLevel) bool { return svn >= l.TCB.ISVSVN })
}
