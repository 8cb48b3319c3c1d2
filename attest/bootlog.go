package attest

import (
	"fmt"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// readBootLog reads the firmware's log, which must explain RTMR0 to RTMR2 to
// the last event. No log at all is fine: the caller then knows the registers
// only. Events of RTMR3 in it are left out: the runtime list explains those.
func readBootLog(area []byte, rtmr [4]vm.Register) ([]vm.BootEvent, error) {
	if len(area) == 0 {
		return nil, nil
	}
	if len(area) > vm.MaxBootLogSize {
		return nil, tooLarge("boot event log", len(area), vm.MaxBootLogSize)
	}
	log, err := eventlog.ParseCCEL(area)
	if err != nil {
		return nil, err
	}
	if err := log.Explains(rtmr, 0, 1, 2); err != nil {
		return nil, err
	}
	if err := log.Check(); err != nil {
		return nil, err
	}
	var out []vm.BootEvent
	for _, e := range log.Describe() {
		if e.Register != vm.RuntimeRegister {
			out = append(out, e)
		}
	}
	return out, nil
}

// checkOnce refuses a runtime list that measures twice what a machine measures
// once: a reader of either would take the other for absent.
func checkOnce(events []vm.Event) error {
	seen := map[string]int{}
	for i, e := range events {
		switch e.Name {
		case vm.EventImage, vm.EventCompose, vm.EventFiles, vm.EventConfig, vm.EventBootComplete:
		default:
			continue
		}
		if first, again := seen[e.Name]; again {
			return vm.Refuse(vm.CodeEvents, "event %d repeats event %d", i, first).
				On(e.Name, "measured twice", "once").
				Try(fmt.Sprintf("something in the machine imitates the boot event %s: do not trust it", e.Name))
		}
		seen[e.Name] = i
	}
	return nil
}
