package measure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on what is read of a record.
const (
	maxRecord     = 16 << 20 // bytes
	maxRecordRows = 16 << 10 // of one TEE
	maxRecordSets = 32 << 10 // shape sets of one TEE
	maxRecordText = 4096     // bytes of one text
)

// ReadRecord reads a record as Record.Encode writes it, with any white space:
// unknown, repeated and reordered fields are errors, and so is a record that
// contradicts itself. That the registers are those of any files, it cannot say.
func ReadRecord(from io.Reader) (Record, error) {
	b, err := io.ReadAll(io.LimitReader(from, maxRecord+1))
	if err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	if len(b) > maxRecord {
		return Record{}, fmt.Errorf("read record: it has more than %d bytes", maxRecord)
	}
	var r Record
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Record{}, errors.New("read record: bytes trail the document")
	}
	if err := r.check(); err != nil {
		return Record{}, fmt.Errorf("read record: %w", err)
	}
	want, err := r.compact()
	if err != nil {
		return Record{}, err
	}
	var got bytes.Buffer
	if err := json.Compact(&got, b); err != nil || !bytes.Equal(got.Bytes(), want) {
		return Record{}, errors.New("read record: a field is repeated, out of order or not written as secretvm measure --all-shapes does")
	}
	return r, nil
}

// check reports the first thing that has no meaning.
func (r Record) check() error {
	switch {
	case r.Version != RecordVersion:
		return fmt.Errorf("version is %d, want %d", r.Version, RecordVersion)
	case !isText(r.Description):
		return errors.New("description is not printable ASCII of at most 4096 bytes")
	case !isText(r.CommandLine):
		return errors.New("command_line is not printable ASCII of at most 4096 bytes")
	case r.Kernel.IsZero() || r.Initramfs.IsZero() || r.RootHash.IsZero():
		return errors.New("kernel, initramfs or root_hash is missing")
	case r.TDX == nil && r.SNP == nil:
		return errors.New("it is about no TEE: neither tdx nor snp is there")
	}
	for word := range strings.FieldsSeq(r.CommandLine) { // the guest reads it there (disk/verity)
		if root, is := strings.CutPrefix(word, "secretvm.verity="); is && root != r.RootHash.String() {
			return fmt.Errorf("root_hash is %s, the command line has %s", r.RootHash, root)
		}
	}
	for what, check := range map[string]func() error{"workload": r.checkWorkload, "tdx": r.TDX.check, "snp": r.SNP.check} {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// checkWorkload makes RTMR3 anew from the template.
func (r Record) checkWorkload() error {
	if r.Workload == nil {
		return nil
	}
	if id := r.Workload.Template.InstanceID; id != vm.NoInstance {
		return fmt.Errorf("the template's instance_id is %q, want zeros", id)
	}
	events, err := vm.BootEvents(r.RootHash, r.Workload.Template)
	if err != nil {
		return err
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return err
	}
	if want := rtmr[vm.RuntimeRegister]; r.Workload.RTMR3 != want {
		return fmt.Errorf("rtmr3 is %s, the template measures %s", r.Workload.RTMR3, want)
	}
	return nil
}

func (r *TDXRecord) check() error {
	if r == nil {
		return nil
	}
	switch {
	case r.Firmware.IsZero() || r.MRTD.IsZero() || r.MRTDTwoPass.IsZero() || r.RTMR1.IsZero() || r.RTMR2.IsZero():
		return errors.New("firmware, mrtd, mrtd_two_pass, rtmr1 or rtmr2 is missing")
	case !isText(r.Profile):
		return errors.New("profile is not printable ASCII of at most 4096 bytes")
	}
	var seen rows
	for i, row := range r.Rows {
		if err := seen.add(row.RTMR0, 0, row.Shapes); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return seen.whole()
}

func (r *SNPRecord) check() error {
	if r == nil {
		return nil
	}
	if r.Firmware.IsZero() {
		return errors.New("firmware is missing")
	}
	if _, err := snp.Signature(r.CPUModel); err != nil {
		return err
	}
	var seen rows
	for i, row := range r.Rows {
		if row.Features != snp.SNPActive && row.Features != snp.SNPActive|snp.DebugSwap {
			return fmt.Errorf("row %d: features are %#x, want %#x or %#x", i, row.Features, snp.SNPActive, snp.SNPActive|snp.DebugSwap)
		}
		if err := seen.add(row.Digest, row.Features, row.Shapes); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return seen.whole()
}

// rows sees that no value stands in two rows and no shape has two values.
type rows struct {
	values map[vm.Register]bool
	shapes map[place]bool
	sets   int
}

// place is one shape; -1 stands for any.
type place struct {
	features uint64
	cpus     int
	memory   int64
	gpus     int
}

func (r *rows) add(value vm.Register, features uint64, sets []ShapeSet) error {
	if r.values == nil {
		r.values, r.shapes = map[vm.Register]bool{}, map[place]bool{}
	}
	r.sets += len(sets)
	switch {
	case value.IsZero():
		return errors.New("the value is missing")
	case r.values[value]:
		return fmt.Errorf("%s stands in another row", value)
	case len(sets) == 0:
		return errors.New("it has no shapes")
	case len(r.values) == maxRecordRows || r.sets > maxRecordSets:
		return fmt.Errorf("there are more than %d rows or %d sets of shapes", maxRecordRows, maxRecordSets)
	}
	r.values[value] = true
	for _, s := range sets {
		if err := r.addShapes(features, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *rows) addShapes(features uint64, s ShapeSet) error {
	switch {
	case !ascends(s.CPUs, 1, vm.MaxCPUs):
		return fmt.Errorf("cpus are %d, want ascending numbers from 1 to %d", s.CPUs, vm.MaxCPUs)
	case !ascends(s.Memory, vm.MinMemory>>20, vm.MaxMemory>>20):
		return fmt.Errorf("memory is %d, want ascending sizes from %d to %d MiB", s.Memory, vm.MinMemory>>20, vm.MaxMemory>>20)
	case !ascends(s.GPUs, 0, vm.MaxShapeGPUs):
		return fmt.Errorf("gpus are %d, want ascending numbers from 0 to %d", s.GPUs, vm.MaxShapeGPUs)
	case len(s.CPUs) == 0 || features == 0 && (len(s.Memory) == 0 || len(s.GPUs) == 0):
		return errors.New("a number is missing that the value depends on")
	case features != 0 && len(s.Memory)+len(s.GPUs) > 0:
		return errors.New("memory or gpus are named, on which a launch digest does not depend")
	}
	anySize, anyNumber := []int64{-1}, []int{-1}
	if len(s.Memory) > 0 {
		anySize, anyNumber = s.Memory, s.GPUs
	}
	for _, cpus := range s.CPUs {
		for _, memory := range anySize {
			for _, gpus := range anyNumber {
				at := place{features, cpus, memory, gpus}
				switch {
				case r.shapes[at]:
					return fmt.Errorf("%d vCPUs, %d MiB, %d GPUs: there twice", cpus, memory, gpus)
				case len(r.shapes) == maxRecordSets:
					return fmt.Errorf("there are more than %d shapes", maxRecordSets)
				}
				r.shapes[at] = true
			}
		}
	}
	return nil
}

func (r *rows) whole() error {
	if len(r.values) == 0 {
		return errors.New("there are no rows")
	}
	return nil
}

func ascends[N int | int64](numbers []N, least, most N) bool {
	for i, n := range numbers {
		if n < least || n > most || i > 0 && n <= numbers[i-1] {
			return false
		}
	}
	return true
}

func isText(s string) bool {
	return len(s) <= maxRecordText && !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < ' ' || b > '~' })
}
