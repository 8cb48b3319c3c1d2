package measure

import (
	"fmt"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/vm"
)

// Record is what one image measures in every common shape: only RTMR0 depends
// on the shape.
type Record struct {
	MRTD        vm.Register   `json:"mrtd"`
	MRTDTwoPass vm.Register   `json:"mrtd_two_pass"` // on hosts whose kernel adds all pages of a section before it measures them
	RTMR1       vm.Register   `json:"rtmr1"`
	RTMR2       vm.Register   `json:"rtmr2"`
	Shapes      []ShapeRecord `json:"shapes"`
}

// ShapeRecord is what one shape adds to a Record.
type ShapeRecord struct {
	vm.Shape
	RTMR0 vm.Register `json:"rtmr0"`
}

// Shapes are the machines that an image's manifest predicts, the default first:
// 1 to 64 vCPUs in powers of two, with every usual size of memory.
func Shapes() []vm.Shape {
	shapes := []vm.Shape{vm.DefaultShape}
	for cpus := 1; cpus <= 64; cpus *= 2 {
		for _, memory := range commonMemory {
			if s := (vm.Shape{CPUs: cpus, Memory: memory << 30}); s != vm.DefaultShape {
				shapes = append(shapes, s)
			}
		}
	}
	return shapes
}

// commonMemory are the usual sizes of memory, in GiB.
var commonMemory = []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}

// CommonShapes are machines with 1 to 64 vCPUs and 1 to 512 GiB in usual steps.
func CommonShapes() []vm.Shape {
	shapes := make([]vm.Shape, 0, 64*len(commonMemory))
	for cpus := 1; cpus <= 64; cpus++ {
		for _, memory := range commonMemory {
			shapes = append(shapes, vm.Shape{CPUs: cpus, Memory: memory << 30})
		}
	}
	return shapes
}

// PredictRecord predicts an image for several shapes; in.Shape is ignored.
func PredictRecord(in Input, shapes []vm.Shape) (Record, error) {
	predictions, err := PredictShapes(in, shapes)
	if err != nil {
		return Record{}, err
	}
	if len(predictions) == 0 {
		return Record{}, fmt.Errorf("predict measurement: no shape was given")
	}
	single, two, err := MRTDs(in.Firmware)
	if err != nil {
		return Record{}, err
	}
	first := predictions[0]
	r := Record{MRTD: single, MRTDTwoPass: two, RTMR1: first.RTMR1, RTMR2: first.RTMR2}
	for _, p := range predictions {
		if p.RTMR1 != first.RTMR1 || p.RTMR2 != first.RTMR2 {
			return Record{}, fmt.Errorf("predict measurement: under %s the kernel measures otherwise in other shapes", in.Profile.Name)
		}
		r.Shapes = append(r.Shapes, ShapeRecord{p.Shape, p.RTMR0})
	}
	return r, nil
}

// MRTDs returns MRTD of a firmware in both orders in which hosts add pages: page
// by page, as upstream KVM, and section by section, as early vendor kernels.
func MRTDs(firmware []byte) (single, two vm.Register, err error) {
	image, err := ovmf.Parse(firmware)
	if err != nil {
		return single, two, fmt.Errorf("predict measurement: %w", err)
	}
	return tdx.MRTD(image, tdx.SinglePass), tdx.MRTD(image, tdx.TwoPass), nil
}
