package collateral

import "slices"

// Status is Intel's word for the state of a TCB.
type Status string

// The statuses, from the PCS documentation.
const (
	UpToDate                          Status = "UpToDate"
	SWHardeningNeeded                 Status = "SWHardeningNeeded"
	ConfigurationNeeded               Status = "ConfigurationNeeded"
	ConfigurationAndSWHardeningNeeded Status = "ConfigurationAndSWHardeningNeeded"
	OutOfDate                         Status = "OutOfDate"
	OutOfDateConfigurationNeeded      Status = "OutOfDateConfigurationNeeded"
	RevokedTCB                        Status = "Revoked"
)

// Known reports whether s is one of the statuses above.
func (s Status) Known() bool {
	switch s {
	case UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
		OutOfDate, OutOfDateConfigurationNeeded, RevokedTCB:
		return true
	}
	return false
}

// Converge joins the platform's status with that of a part with a TCB of its
// own, the TDX module or the quoting enclave: an old part makes the whole out
// of date, and a need for configuration is not forgotten over it (Intel's
// quote verification library, convergeTcbStatusWithTdxModuleStatus and
// convergeTcbStatusWithQeTcbStatus).
func (s Status) Converge(part Status) Status {
	switch {
	case s == RevokedTCB || part == RevokedTCB:
		return RevokedTCB
	case part == UpToDate:
		return s // any other word of a part counts as out of date
	case s == ConfigurationNeeded || s == ConfigurationAndSWHardeningNeeded || s == OutOfDateConfigurationNeeded:
		return OutOfDateConfigurationNeeded
	default:
		return OutOfDate
	}
}

// order is from best to worst.
var order = []Status{
	UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
	OutOfDate, OutOfDateConfigurationNeeded, RevokedTCB,
}

// Worse joins the statuses of one platform at two times: the worse one, and a
// need for configuration is not forgotten over it. Unknown words are worst.
func (s Status) Worse(other Status) Status {
	a, b := slices.Index(order, s), slices.Index(order, other)
	switch {
	case a < 0:
		return s
	case b < 0:
		return other
	case a > b:
		a, b = b, a
	}
	if order[b] == OutOfDate && (order[a] == ConfigurationNeeded || order[a] == ConfigurationAndSWHardeningNeeded) {
		return OutOfDateConfigurationNeeded
	}
	return order[b]
}
