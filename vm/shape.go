package vm

import (
	"fmt"
	"strconv"
	"strings"
)

// TEE names the trusted execution environment a machine runs in.
type TEE string

// The environments. Soft has real formats and no confidentiality; SGX
// evidence is verified (key providers have it), but no machine runs in it.
const (
	TDX  TEE = "tdx"
	SNP  TEE = "snp"
	SGX  TEE = "sgx"
	Soft TEE = "soft"
)

// Shape is the virtual hardware of a machine. The same value makes QEMU's
// arguments (host/qemu) and the prediction of the registers (measure).
type Shape struct {
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"`         // bytes, a multiple of 1 MiB
	GPUs   int   `json:"gpus,omitempty"` // passed through, each behind a port of its own
}

// DefaultShape is the machine that the example and the tests boot.
var DefaultShape = Shape{CPUs: 2, Memory: 2 << 30}

// Bounds of a Shape: what the predictor knows.
const (
	MaxCPUs      = 64
	MinMemory    = 512 << 20 // bytes
	MaxMemory    = 512 << 30 // bytes
	MaxShapeGPUs = 8
)

// Validate bounds the shape to what the predictor knows.
func (s Shape) Validate() error {
	switch {
	case s.CPUs < 1 || s.CPUs > MaxCPUs:
		return fmt.Errorf("shape: %d vCPUs, want 1 to %d", s.CPUs, MaxCPUs)
	case s.Memory < MinMemory || s.Memory > MaxMemory || s.Memory%(1<<20) != 0:
		return fmt.Errorf("shape: %d bytes of memory, want 512 MiB to 512 GiB in whole MiB", s.Memory)
	case s.GPUs < 0 || s.GPUs > MaxShapeGPUs:
		return fmt.Errorf("shape: %d GPUs, want 0 to %d", s.GPUs, MaxShapeGPUs)
	}
	return nil
}

// String writes a shape as ParseShape reads it: 4x8G, 2x1536M, 16x256G+8gpu.
func (s Shape) String() string {
	text := fmt.Sprintf("%dx%dM", s.CPUs, s.Memory>>20)
	if s.Memory%(1<<30) == 0 {
		text = fmt.Sprintf("%dx%dG", s.CPUs, s.Memory>>30)
	}
	if s.GPUs > 0 {
		text += fmt.Sprintf("+%dgpu", s.GPUs)
	}
	return text
}

// ParseShape reads vCPUs, memory in GiB or MiB, and GPUs if there are any.
func ParseShape(text string) (s Shape, err error) {
	bad := fmt.Errorf("shape %q: want vCPUs and memory, and GPUs if any, such as 4x8G, 2x1536M or 16x256G+8gpu", text)
	machine, gpus, has := strings.Cut(text, "+")
	if has {
		digits, is := strings.CutSuffix(gpus, "gpu")
		if s.GPUs, err = strconv.Atoi(digits); err != nil || !is || s.GPUs == 0 {
			return Shape{}, bad
		}
	}
	cpus, memory, _ := strings.Cut(machine, "x")
	if s.CPUs, err = strconv.Atoi(cpus); err != nil {
		return Shape{}, bad
	}
	digits, unit := strings.CutSuffix(memory, "M")
	shift := 20
	if !unit {
		if digits, unit = strings.CutSuffix(memory, "G"); !unit {
			return Shape{}, bad
		}
		shift = 30
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return Shape{}, bad
	}
	s.Memory = n << shift
	return s, s.Validate()
}
