package gpu

import (
	"context"

	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// Quoter is a machine's TEE that shows the evidence of its GPUs with each quote.
type Quoter struct {
	tee.Device
	Ask func(ctx context.Context, nonce vm.Hash) (*vm.GPUEvidence, error) // Process.Evidence

	// InHalf makes the second half of report data the nonce, as existing verifiers
	// look for it; else the nonce is vm.GPUNonce (docs/decisions/0006).
	InHalf bool
}

// Quote asks the CPU and the devices side by side.
func (q Quoter) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	nonce := vm.GPUNonce(reportData)
	if q.InHalf {
		nonce = vm.Hash(reportData[32:])
	}
	var shown *vm.GPUEvidence
	asked := make(chan error, 1)
	go func() {
		var err error
		shown, err = q.Ask(ctx, nonce)
		asked <- err
	}()
	ev, err := q.Device.Quote(ctx, reportData)
	if e := <-asked; err == nil {
		err = e
	}
	ev.GPU = shown
	return ev, err
}
