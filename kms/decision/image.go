package decision

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Identity is the set of registers that an image names, all of them.
type Identity struct {
	MRTD, RTMR0, RTMR1, RTMR2 vm.Register
	RTMR3                     vm.Register // of the template config
}

// Image is one set of registers that may have the service's keys, with what
// explains RTMR3 where the owner gave it.
type Image struct {
	Index uint64
	Identity
	RootHash vm.Hash    // with Template
	Template *vm.Config // nil: the owner gave the registers alone
}

// TemplateRegister is RTMR3 of a machine that boots root under cfg's template:
// what an owner registers, so that one image serves every instance.
func TemplateRegister(root vm.Hash, cfg vm.Config) (vm.Register, error) {
	events, err := vm.BootEvents(root, cfg.Template())
	if err != nil {
		return vm.Register{}, fmt.Errorf("events of the template: %w", err)
	}
	registers, err := vm.Replay(events)
	if err != nil {
		return vm.Register{}, fmt.Errorf("replay the template: %w", err)
	}
	return registers[vm.RuntimeRegister], nil
}

var allRegisters = []string{"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"}

// register returns a register by name.
func (i Identity) register(name string) vm.Register {
	return map[string]vm.Register{"mrtd": i.MRTD, "rtmr0": i.RTMR0, "rtmr1": i.RTMR1, "rtmr2": i.RTMR2, "rtmr3": i.RTMR3}[name]
}

// differing names the registers that are not equal, in order.
func differing(a, b Identity) (names []string) {
	for _, name := range allRegisters {
		if a.register(name) != b.register(name) {
			names = append(names, name)
		}
	}
	return names
}
