package collateral

import "fmt"

// Platform is the TCB that a quote shows.
type Platform struct {
	SGX    [components]int  // from the PCK certificate
	PCESVN int              // from the PCK certificate
	TDX    [components]byte // TEE_TCB_SVN of the body; [1] is the module's major version
}

// Match returns the first level that the platform reaches: the PCS lists the
// best one first.
func (t TCBInfo) Match(p Platform) (TCBLevel, bool) {
	for _, l := range t.TCBLevels {
		if len(l.TCB.Short(p)) == 0 {
			return l, true
		}
	}
	return TCBLevel{}, false
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

// MatchSVN returns the first level that svn reaches.
func MatchSVN(levels []SVNLevel, svn int) (SVNLevel, bool) {
	for _, l := range levels {
		if svn >= l.TCB.ISVSVN {
			return l, true
		}
	}
	return SVNLevel{}, false
}
