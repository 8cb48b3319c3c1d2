package measure

import (
	"crypto/sha512"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
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
	ACPI        *ACPI        // nil: PredictACPI
	SMBIOS      *vm.Register // digest of the filtered tables, where the profile measures them
}

// Predict returns the events of RTMR0 to RTMR2 and the registers that follow.
// An event's Payload is a short description for people; its digest is over the
// measured bytes themselves.
func Predict(in Input) ([]vm.Event, vm.Prediction, error) {
	log, prediction, err := PredictLog(in)
	return log.Events(), prediction, err
}

// PredictLog returns with the registers all that the machine's own log says.
func PredictLog(in Input) (Log, vm.Prediction, error) {
	files, err := readFiles(in)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	log, prediction, err := files.predict(in)
	if err != nil {
		return nil, vm.Prediction{}, fmt.Errorf("predict measurement: %w", err)
	}
	return log, prediction, nil
}

// PredictShapes predicts the same files for several shapes; in.Shape is ignored.
func PredictShapes(in Input, shapes []vm.Shape) ([]vm.Prediction, error) {
	_, predictions, err := PredictLogs(in, shapes)
	return predictions, err
}

// PredictLogs is PredictLog for several shapes: the files are read once.
func PredictLogs(in Input, shapes []vm.Shape) ([]Log, []vm.Prediction, error) {
	files, err := readFiles(in)
	if err != nil {
		return nil, nil, fmt.Errorf("predict measurement: %w", err)
	}
	logs, predictions := make([]Log, len(shapes)), make([]vm.Prediction, len(shapes))
	for i, s := range shapes {
		in.Shape = s
		if logs[i], predictions[i], err = files.predict(in); err != nil {
			return nil, nil, fmt.Errorf("predict measurement: %w", err)
		}
	}
	return logs, predictions, nil
}

// files is what the measured files give, whatever the shape.
type files struct {
	image   *ovmf.Image
	mrtd    vm.Register
	store   vm.Register // digest of the variable store
	kernel  vm.Register
	options []byte
	initrd  vm.Register
}

func readFiles(in Input) (f files, err error) {
	if f.image, err = ovmf.Parse(in.Firmware); err != nil {
		return f, err
	}
	if err := checkStore(f.image); err != nil {
		return f, err
	}
	f.mrtd = tdx.MRTD(f.image, in.Profile.PageOrder)
	f.store = sha512.Sum384(f.image.Contents(f.image.Section(ovmf.CFV)))
	if f.options, err = linuxboot.LoadOptions(in.CommandLine, len(in.Initrd) > 0, in.Profile.InitrdToken); err != nil {
		return f, err
	}
	f.initrd = sha512.Sum384(in.Initrd)
	f.kernel, err = authenticode(in.Kernel)
	return f, err
}

// checkStore refuses a firmware that comes with variables: with keys of secure
// boot it measures who vouched for the kernel, with boot options those.
func checkStore(image *ovmf.Image) error {
	variables, err := efi.StoredVariables(image.Contents(image.Section(ovmf.CFV)))
	if err != nil {
		return err
	}
	if len(variables) > 0 {
		return fmt.Errorf("the firmware's variable store holds %q and %d more, want a blank one: what variables make the firmware measure is not predicted", variables[0].Name, len(variables)-1)
	}
	return nil
}

func authenticode(kernel []byte) (vm.Register, error) {
	h := sha512.New384()
	if err := linuxboot.Authenticode(h, kernel); err != nil {
		return vm.Register{}, err
	}
	return vm.Register(h.Sum(nil)), nil
}

// predict adds what depends on the shape.
func (f files) predict(in Input) (log Log, none vm.Prediction, err error) {
	if err := log.platformOf(f, in); err != nil {
		return nil, none, err
	}
	if in.Profile.KernelPatched {
		patched, err := linuxboot.Patch(in.Kernel, in.CommandLine, len(in.Initrd), in.Shape.Memory)
		if err != nil {
			return nil, none, err
		}
		if f.kernel, err = authenticode(patched); err != nil {
			return nil, none, err
		}
	}
	log.kernel(f.kernel, len(in.Kernel))
	if err := log.options(in); err != nil {
		return nil, none, err
	}
	log.ready(in.Profile)
	var initrd *vm.Register
	if len(in.Initrd) > 0 {
		initrd = &f.initrd
	}
	log.linux(sha512.Sum384(f.options), len(f.options), initrd, len(in.Initrd))
	log.exit()
	rtmr, err := vm.Replay(log.Events())
	if err != nil {
		return nil, none, err
	}
	return log, vm.Prediction{
		TEE: vm.TDX, Shape: in.Shape,
		MRTD: f.mrtd, RTMR0: rtmr[0], RTMR1: rtmr[1], RTMR2: rtmr[2],
	}, nil
}

// platformOf adds what comes before the kernel.
func (l *Log) platformOf(f files, in Input) error {
	if err := in.Shape.Validate(); err != nil {
		return err
	}
	hob, err := tdx.HOB(f.image, uint64(in.Shape.Memory))
	if err != nil {
		return err
	}
	if in.ACPI == nil {
		acpi, err := PredictACPI(in.Shape)
		if err != nil {
			return err
		}
		in.ACPI = &acpi
	}
	l.platform(in.Profile, f.image, f.store, hob, *in.ACPI)
	return nil
}

// options adds what RTMR0 gets after the kernel was loaded.
func (l *Log) options(in Input) error {
	if in.Profile.SMBIOS {
		if in.SMBIOS == nil {
			return fmt.Errorf("firmware of %s measures SMBIOS tables, which do not follow from files and shape: give their digest", in.Profile.Name)
		}
		l.addDigest(platformRegister, "smbios", *in.SMBIOS, typeHandoffTables, nil, "SMBIOS tables, digest as given")
	}
	l.bootOptions(in.Profile)
	return nil
}
