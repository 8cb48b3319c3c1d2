package measure

import "github.com/secretvm/secretvm/vm"

// Difference is one register whose values differ.
type Difference struct {
	Register string      `json:"register"` // as in the JSON of vm.Prediction
	Want     vm.Register `json:"want"`
	Found    vm.Register `json:"found"`
}

// Differences compares the registers of two predictions.
func Differences(want, found vm.Prediction) []Difference {
	var out []Difference
	for _, d := range []Difference{
		{"mrtd", want.MRTD, found.MRTD},
		{"rtmr0", want.RTMR0, found.RTMR0},
		{"rtmr1", want.RTMR1, found.RTMR1},
		{"rtmr2", want.RTMR2, found.RTMR2},
	} {
		if d.Want != d.Found {
			out = append(out, d)
		}
	}
	return out
}
