package measure

import (
	"crypto/sha512"
	"fmt"

	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/vm"
)

// Input is everything that a launch measures. Files are whole, as QEMU gets them.
type Input struct {
	Firmware    []byte // OVMF with its variable store
	Kernel      []byte
	Initrd      []byte
	CommandLine string
	Shape       vm.Shape
	Profile     Profile
	ACPI        *ACPI // nil: PlaceholderACPI
}

// Shapes are the machines that an image's manifest predicts, the default first.
func Shapes() []vm.Shape {
	shapes := []vm.Shape{vm.DefaultShape}
	for _, cpus := range []int{1, 2, 4} {
		for _, memory := range []int64{2 << 30, 4 << 30} {
			if s := (vm.Shape{CPUs: cpus, Memory: memory}); s != vm.DefaultShape {
				shapes = append(shapes, s)
			}
		}
	}
	return shapes
}

// Predict returns the events of RTMR0 to RTMR2 and the registers that follow.
// An event's Payload is a short description for people; its digest is over the
// measured bytes themselves.
func Predict(in Input) ([]vm.Event, vm.Prediction, error) {
	events, mrtd, err := eventLog(in)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	return events, vm.Prediction{
		TEE: vm.TDX, Shape: in.Shape,
		MRTD: mrtd, RTMR0: rtmr[0], RTMR1: rtmr[1], RTMR2: rtmr[2],
	}, nil
}

// PredictShapes predicts the same files for several shapes; in.Shape is ignored.
func PredictShapes(in Input, shapes []vm.Shape) ([]vm.Prediction, error) {
	var out []vm.Prediction
	for _, s := range shapes {
		in.Shape = s
		_, p, err := Predict(in)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func eventLog(in Input) (events []vm.Event, mrtd vm.Register, err error) {
	if err := in.Shape.Validate(); err != nil {
		return nil, mrtd, err
	}
	image, err := ovmf.Parse(in.Firmware)
	if err != nil {
		return nil, mrtd, err
	}
	hob, err := tdx.HOB(image, uint64(in.Shape.Memory))
	if err != nil {
		return nil, mrtd, err
	}
	acpi := PlaceholderACPI(in.Shape)
	if in.ACPI != nil {
		acpi = *in.ACPI
	}
	kernel := sha512.New384()
	if err := linuxboot.Authenticode(kernel, in.Kernel); err != nil {
		return nil, mrtd, err
	}
	options, err := linuxboot.LoadOptions(in.CommandLine, len(in.Initrd) > 0, in.Profile.InitrdToken)
	if err != nil {
		return nil, mrtd, err
	}
	var log eventList
	log.platform(in.Profile, hob, image.Contents(image.Section(ovmf.CFV)), acpi, in.ACPI == nil)
	log.bootOptions(in.Profile)
	log.kernel(in.Profile, vm.Register(kernel.Sum(nil)), len(in.Kernel))
	log.linux(options, in.Initrd)
	return log, tdx.MRTD(image, in.Profile.PageOrder), nil
}
