package measure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/vm"
)

// RecordVersion is the version of the format that Record has (docs/measurement.md).
const RecordVersion = 1

// Record is what one image measures in every common shape: what an owner
// registers. ReadRecord reads it back.
type Record struct {
	Version     int        `json:"version"`     // RecordVersion
	Description string     `json:"description"` // for people
	Kernel      vm.Hash    `json:"kernel"`      // SHA-256 of the file, as the next
	Initramfs   vm.Hash    `json:"initramfs"`
	CommandLine string     `json:"command_line"`
	RootHash    vm.Hash    `json:"root_hash"`          // of the root file system (dm-verity)
	Workload    *Workload  `json:"workload,omitempty"` // where the record is about one
	TDX         *TDXRecord `json:"tdx,omitempty"`
	SNP         *SNPRecord `json:"snp,omitempty"`
}

// Workload is RTMR3 with the config that it follows from, whose instance id is
// blank. It is the same in every shape.
type Workload struct {
	RTMR3    vm.Register `json:"rtmr3"`
	Template vm.Config   `json:"template"`
}

// TDXRecord is what TDX machines measure, and soft ones alike. Only RTMR0
// depends on the shape.
type TDXRecord struct {
	Firmware    vm.Hash     `json:"firmware"` // SHA-256 of the file
	Profile     string      `json:"profile"`  // of firmware and VMM
	MRTD        vm.Register `json:"mrtd"`
	MRTDTwoPass vm.Register `json:"mrtd_two_pass"` // on hosts whose kernel adds all pages of a section before it measures them
	RTMR1       vm.Register `json:"rtmr1"`
	RTMR2       vm.Register `json:"rtmr2"`
	Rows        []TDXRow    `json:"rows"`
}

// TDXRow is one value of RTMR0 with the shapes that measure it.
type TDXRow struct {
	RTMR0  vm.Register `json:"rtmr0"`
	Shapes []ShapeSet  `json:"shapes"`
}

// SNPRecord is what SEV-SNP machines measure: neither memory nor GPUs are in it.
type SNPRecord struct {
	Firmware vm.Hash  `json:"firmware"`  // SHA-256 of the file
	CPUModel string   `json:"cpu_model"` // QEMU's name
	Rows     []SNPRow `json:"rows"`
}

// SNPRow is one launch digest with the shapes that measure it.
type SNPRow struct {
	Digest   vm.Register `json:"digest"`   // MEASUREMENT in reports
	Features uint64      `json:"features"` // SEV_FEATURES, which the host's kernel decides: 1, or 33 with DebugSwap
	Shapes   []ShapeSet  `json:"shapes"`
}

// ShapeSet is every shape made of one number or size of each list. A list that
// is empty means any.
type ShapeSet struct {
	CPUs   []int   `json:"cpus,omitempty"`
	Memory []int64 `json:"memory,omitempty"` // MiB
	GPUs   []int   `json:"gpus,omitempty"`
}

// Only is the set of one shape.
func Only(s vm.Shape) ShapeSet {
	return ShapeSet{CPUs: []int{s.CPUs}, Memory: []int64{s.Memory >> 20}, GPUs: []int{s.GPUs}}
}

// Has reports whether a shape is in the set.
func (s ShapeSet) Has(shape vm.Shape) bool {
	return (len(s.CPUs) == 0 || slices.Contains(s.CPUs, shape.CPUs)) &&
		(len(s.Memory) == 0 || shape.Memory%(1<<20) == 0 && slices.Contains(s.Memory, shape.Memory>>20)) &&
		(len(s.GPUs) == 0 || slices.Contains(s.GPUs, shape.GPUs))
}

// Row is one platform of a record: what machines of its shapes measure before
// the workload. The other registers of TDX machines are the record's.
type Row struct {
	TEE    vm.TEE // TDX, for soft machines as well, or SNP
	Shapes []ShapeSet

	MRTD, RTMR0 vm.Register // of TDX machines

	Digest   vm.Register // of SNP machines: the launch digest
	Features uint64      // of SNP machines: SEV_FEATURES
}

// Has reports whether the row is about a shape.
func (r Row) Has(shape vm.Shape) bool {
	return slices.ContainsFunc(r.Shapes, func(s ShapeSet) bool { return s.Has(shape) })
}

// Rows returns all platforms, those of TDX first.
func (r Record) Rows() []Row {
	var rows []Row
	if r.TDX != nil {
		for _, row := range r.TDX.Rows {
			rows = append(rows, Row{TEE: vm.TDX, Shapes: row.Shapes, MRTD: r.TDX.MRTD, RTMR0: row.RTMR0})
		}
	}
	if r.SNP != nil {
		for _, row := range r.SNP.Rows {
			rows = append(rows, Row{TEE: vm.SNP, Shapes: row.Shapes, Digest: row.Digest, Features: row.Features})
		}
	}
	return rows
}

// PredictTDX predicts what TDX machines of several shapes measure; in.Shape is
// ignored.
func PredictTDX(in Input, shapes []vm.Shape) (*TDXRecord, error) {
	predictions, err := PredictShapes(in, shapes)
	if err != nil {
		return nil, err
	}
	if len(predictions) == 0 {
		return nil, fmt.Errorf("predict measurement: no shape was given")
	}
	single, two, err := MRTDs(in.Firmware)
	if err != nil {
		return nil, err
	}
	first := predictions[0]
	r := &TDXRecord{
		Firmware: vm.HashOf(in.Firmware), Profile: in.Profile.Name,
		MRTD: single, MRTDTwoPass: two, RTMR1: first.RTMR1, RTMR2: first.RTMR2,
	}
	at := map[vm.Register]int{}
	for _, p := range predictions {
		if p.RTMR1 != first.RTMR1 || p.RTMR2 != first.RTMR2 {
			return nil, fmt.Errorf("predict measurement: under %s the kernel measures otherwise in other shapes", in.Profile.Name)
		}
		i, known := at[p.RTMR0]
		if !known {
			i = len(r.Rows)
			at[p.RTMR0] = i
			r.Rows = append(r.Rows, TDXRow{RTMR0: p.RTMR0})
		}
		r.Rows[i].Shapes = append(r.Rows[i].Shapes, Only(p.Shape))
	}
	return r, nil
}

// PredictSNP predicts the launch digests of SNP machines with each number of
// vCPUs, on either kind of host; l.CPUs and l.Features are ignored.
func PredictSNP(l snp.Launch, firmware vm.Hash, model string, cpus []int) (*SNPRecord, error) {
	r := &SNPRecord{Firmware: firmware, CPUModel: model}
	for _, l.Features = range []uint64{snp.SNPActive, snp.SNPActive | snp.DebugSwap} {
		for _, l.CPUs = range cpus {
			digest, err := snp.Predict(l)
			if err != nil {
				return nil, err
			}
			r.Rows = append(r.Rows, SNPRow{Digest: digest, Features: l.Features, Shapes: []ShapeSet{{CPUs: []int{l.CPUs}}}})
		}
	}
	return r, nil
}

// Encode checks a record and writes it as JSON, each row on a line of its own.
func (r Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	b, err := r.compact()
	if err != nil {
		return nil, err
	}
	for _, start := range []string{`{"rtmr0":`, `{"digest":`} { // quotation marks in strings have a backslash before them
		b = bytes.ReplaceAll(b, []byte(start), []byte("\n"+start))
	}
	return append(b, '\n'), nil
}

// compact is the record without any white space.
func (r Record) compact() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
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
