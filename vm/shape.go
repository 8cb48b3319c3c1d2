package vm

import "fmt"

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
	Memory int64 `json:"memory"` // bytes, a multiple of 1 MiB
}

// DefaultShape is the machine that the example and the tests boot.
var DefaultShape = Shape{CPUs: 2, Memory: 2 << 30}

// Validate bounds the shape to what the predictor knows.
func (s Shape) Validate() error {
	switch {
	case s.CPUs < 1 || s.CPUs > 64:
		return fmt.Errorf("shape: %d vCPUs, want 1 to 64", s.CPUs)
	case s.Memory < 512<<20 || s.Memory > 512<<30 || s.Memory%(1<<20) != 0:
		return fmt.Errorf("shape: %d bytes of memory, want 512 MiB to 512 GiB in whole MiB", s.Memory)
	}
	return nil
}
