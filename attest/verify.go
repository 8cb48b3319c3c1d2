package attest

import (
	"crypto/x509"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Options are the verifier's side of a verification.
type Options struct {
	// Roots are the trust anchors. None means the vendors' production roots:
	// Intel's for TDX and SGX, AMD's for SEV-SNP, NVIDIA's for GPUs. Naming
	// others replaces all of them.
	Roots []*x509.Certificate

	// Time is the moment for which the verdict holds: the caller's clock, or
	// the block's time on a chain. It is required.
	Time time.Time

	// Policy says what state of a platform is good enough. Its zero value is
	// the strictest.
	Policy Policy

	// Early is collateral for the same platform from the next TCB recovery
	// (Intel's update=early), where the caller has it. It never changes a
	// verdict; vm.Verdict.Early says what it would be.
	Early *vm.Collateral
}

// roots returns the trust anchors for evidence of the vendor whose production
// roots are given.
func (o Options) roots(production ...*x509.Certificate) []*x509.Certificate {
	if len(o.Roots) > 0 {
		return o.Roots
	}
	return production
}

// Verify checks evidence and returns what it proves. The error is a
// *vm.Refusal, always; the verdict is then empty.
func Verify(ev vm.Evidence, o Options) (vm.Verdict, error) { return (*memory)(nil).verify(ev, o) }

// verify is Verify with a memory, which may be nil.
func (m *memory) verify(ev vm.Evidence, o Options) (vm.Verdict, error) {
	if o.Time.IsZero() {
		return vm.Verdict{}, vm.Refuse(vm.CodeInvalid, "verification needs a time")
	}
	if err := o.Policy.check(); err != nil {
		return vm.Verdict{}, err
	}
	if err := checkBounds(ev, o); err != nil {
		return vm.Verdict{}, err
	}
	verdict, err := m.verifyMachine(ev, o)
	if err != nil {
		return vm.Verdict{}, err
	}
	return m.withGPUs(verdict, ev.GPU, o)
}

// verifyMachine checks the evidence of the processor.
func (m *memory) verifyMachine(ev vm.Evidence, o Options) (vm.Verdict, error) {
	switch ev.TEE {
	case vm.TDX, vm.Soft, "":
		// The label is a hint by whoever sent it. Soft evidence has the very
		// format of TDX; its root tells it apart.
		return m.verifyTDX(ev, o)
	case vm.SGX:
		return m.verifySGX(ev, o)
	case vm.SNP:
		return m.verifySNP(ev, o)
	default:
		return vm.Verdict{}, vm.Refuse(vm.CodeInvalid, "evidence of TEE %.16q cannot be verified", string(ev.TEE)).
			On("tee", string(ev.TEE[:min(len(ev.TEE), 16)]), "tdx, snp or sgx")
	}
}

// checkBounds refuses evidence that is missing or larger than documented,
// before any of it is parsed.
func checkBounds(ev vm.Evidence, o Options) error {
	if len(ev.Quote) == 0 {
		return vm.Refuse(vm.CodeMalformed, "evidence holds no quote")
	}
	if len(ev.Quote) > vm.MaxQuoteSize {
		return tooLarge("quote", len(ev.Quote), vm.MaxQuoteSize)
	}
	if size := collateralSize(ev.Collateral); size > vm.MaxCollateralSize {
		return tooLarge("collateral", size, vm.MaxCollateralSize)
	}
	if size := collateralSize(o.Early); size > vm.MaxCollateralSize {
		return tooLarge("early collateral", size, vm.MaxCollateralSize)
	}
	if c := ev.AMD; c != nil {
		if size := len(c.EndorsementKey) + len(c.Chain) + len(c.CRL); size > vm.MaxCollateralSize {
			return tooLarge("AMD collateral", size, vm.MaxCollateralSize)
		}
	}
	size := 0
	for _, e := range ev.Events {
		size += len(e.Name) + len(e.Payload) + len(e.Digest)
	}
	if size > vm.MaxEventsSize {
		return tooLarge("event list", size, vm.MaxEventsSize)
	}
	return nil
}

func collateralSize(c *vm.Collateral) (size int) {
	if c != nil {
		for _, part := range [...][]byte{c.PCKCRL, c.PCKCRLChain, c.RootCACRL, c.TCBInfo, c.TCBInfoChain, c.QEIdentity, c.QEIdentityChain} {
			size += len(part)
		}
	}
	return size
}

func tooLarge(what string, size, limit int) error {
	return vm.Refuse(vm.CodeTooLarge, "%s has %d bytes, want at most %d", what, size, limit)
}

// checkEvents refuses an event list that does not explain RTMR3. No list at
// all is fine: the caller then knows the register only.
func checkEvents(events []vm.Event, register vm.Register) error {
	if len(events) == 0 {
		return nil
	}
	for i, e := range events {
		if err := e.CheckRuntime(); err != nil {
			return vm.Refuse(vm.CodeEvents, "event %d: %v", i, err)
		}
	}
	if err := checkOnce(events); err != nil {
		return err
	}
	registers, err := vm.Replay(events)
	if err != nil {
		return vm.Refuse(vm.CodeEvents, "replay of events: %v", err)
	}
	if replayed := registers[vm.RuntimeRegister]; replayed != register {
		return vm.Refuse(vm.CodeEvents, "the event list does not explain the quoted register").
			On("RTMR3", register.String(), replayed.String()).
			Try("the list was changed, cut, or taken from another machine than the quote")
	}
	return nil
}
