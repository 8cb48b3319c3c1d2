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
	ACPI        *ACPI // nil: PredictACPI
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
	files, err := readFiles(in)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	events, prediction, err := files.predict(in)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	return events, prediction, nil
}

// PredictShapes predicts the same files for several shapes; in.Shape is ignored.
func PredictShapes(in Input, shapes []vm.Shape) ([]vm.Prediction, error) {
	files, err := readFiles(in)
	if err != nil {
		return nil, fmt.Errorf("predict measurement: %w", err)
	}
	out := make([]vm.Prediction, 0, len(shapes))
	for _, s := range shapes {
		in.Shape = s
		_, p, err := files.predict(in)
		if err != nil {
			return nil, fmt.Errorf("predict measurement: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// files is what the measured files give, whatever the shape.
type files struct {
	image  *ovmf.Image
	mrtd   vm.Register
	shared eventList // RTMR1 and RTMR2
}

func readFiles(in Input) (f files, err error) {
	if f.image, err = ovmf.Parse(in.Firmware); err != nil {
		return f, err
	}
	kernel := sha512.New384()
	if err := linuxboot.Authenticode(kernel, in.Kernel); err != nil {
		return f, err
	}
	options, err := linuxboot.LoadOptions(in.CommandLine, len(in.Initrd) > 0, in.Profile.InitrdToken)
	if err != nil {
		return f, err
	}
	f.mrtd = tdx.MRTD(f.image, in.Profile.PageOrder)
	f.shared.kernel(in.Profile, vm.Register(kernel.Sum(nil)), len(in.Kernel))
	f.shared.linux(options, in.Initrd)
	return f, nil
}

// predict adds what depends on the shape.
func (f files) predict(in Input) ([]vm.Event, vm.Prediction, error) {
	none := vm.Prediction{}
	if err := in.Shape.Validate(); err != nil {
		return nil, none, err
	}
	hob, err := tdx.HOB(f.image, uint64(in.Shape.Memory))
	if err != nil {
		return nil, none, err
	}
	if in.ACPI == nil {
		acpi, err := PredictACPI(in.Shape)
		if err != nil {
			return nil, none, err
		}
		in.ACPI = &acpi
	}
	var log eventList
	log.platform(hob, f.image.Contents(f.image.Section(ovmf.CFV)), *in.ACPI)
	log.bootOptions(in.Profile)
	log = append(log, f.shared...)
	rtmr, err := vm.Replay(log)
	if err != nil {
		return nil, none, err
	}
	return log, vm.Prediction{
		TEE: vm.TDX, Shape: in.Shape,
		MRTD: f.mrtd, RTMR0: rtmr[0], RTMR1: rtmr[1], RTMR2: rtmr[2],
	}, nil
}
