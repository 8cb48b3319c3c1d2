package runtime

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// gpuPatience is how long drivers and devices may take to come up.
const gpuPatience = 5 * time.Minute

// openGPUs brings the machine's GPUs up where the measured config demands that
// they prove themselves. From here on all quotes of the machine show their
// evidence, and so does its request for keys. They take no work yet.
func (m *machine) openGPUs(ctx context.Context) error {
	if m.handover.config.GPU != vm.GPUAttest {
		return nil
	}
	if _, err := os.Stat(gpu.Program); errors.Is(err, fs.ErrNotExist) {
		return errors.New("gpu: attest needs an image for GPUs, and this is none (secretvm image build --spec gpu)")
	}
	var err error
	if m.gpus, err = gpu.Start(ctx, m.commands, ipc.Service{Program: gpu.Program}, gpu.Socket); err != nil {
		return err
	}
	return within(ctx, gpuPatience, func(ctx context.Context) error {
		summary, err := m.gpus.Open(ctx)
		if err == nil {
			m.out.Note(summary)
			m.cpu, m.device = m.device, gpu.Quoter{Device: m.device, Ask: m.gpus.Evidence}
		}
		return err
	})
}

// readyGPUs lets the GPUs take work. It is called when the key manager, which has
// judged their evidence, has granted keys.
func (m *machine) readyGPUs(ctx context.Context) error {
	if m.gpus == nil {
		return nil
	}
	return within(ctx, gpuPatience, m.gpus.Ready)
}

// quotedGPUs makes quotes in which existing verifiers find the nonce of the GPUs;
// nil: the machine has none.
func (m *machine) quotedGPUs() attestation.Quoter {
	if m.gpus == nil {
		return nil
	}
	return gpu.Quoter{Device: m.cpu, Ask: m.gpus.Evidence, InHalf: true}
}
