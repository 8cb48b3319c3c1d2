package decision

import (
	"slices"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/vm"
)

// checkGPUs holds a machine to gpu: attest of its config: it gets keys only
// together with GPUs that proved themselves for this very request. That they are
// genuine, unrevoked and measure what NVIDIA published, and that their nonce is
// that of the quote, attest.Verify has found already.
func checkGPUs(verdict vm.Verdict, cfg vm.Config) *vm.Refusal {
	isGPU := func(f vm.GPUFacts) bool { return f.Kind == nvidia.KindGPU }
	if cfg.GPU != vm.GPUAttest || slices.ContainsFunc(verdict.GPUs, isGPU) {
		return nil
	}
	return vm.Refuse(vm.CodeGPU, "the machine's config demands that its GPUs prove themselves, and none did").
		On("GPUs", "none", "the evidence of each").
		Try("boot an image for GPUs (secretvm image build --spec gpu) with a GPU in confidential mode (secretvm up --gpu)")
}
