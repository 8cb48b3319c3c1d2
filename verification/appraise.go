package verification

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// Wanted is what the caller expects of the machine. Everything but Time may be
// left out; what is left out is not compared.
type Wanted struct {
	Compose  []byte              // the compose file, byte for byte
	Files    []byte              // the archive of files that belongs to it
	Manifest *vm.Manifest        // the image
	Service  string              // KMS service id
	GroupKey string              // hex of the KMS's group key
	Roots    []*x509.Certificate // accepted beside the vendors' production roots
	Time     time.Time           // when to judge validity; required
	Policy   attest.Policy       // what state of a platform is good enough
	Early    *vm.Collateral      // Intel's coming TCB information, for a warning ahead
	Data     []byte              // that a container's quote should be about; nil: not compared
	Wishes   Wishes              // comparisons that need no file
	Registry *peer.Registry      // known images of existing SecretVM

	// Recorded says that the wishes came with a bundle: whoever made it chose
	// them, and no text may call them the caller's own.
	Recorded bool

	// BundleRoots came with a bundle and are not accepted: only the caller may
	// move them to Roots, having decided to trust them.
	BundleRoots []*x509.Certificate
}

// finding is what the checks share: the caller's wish, the machine's answer
// and, once the evidence is genuine, what it proves.
type finding struct {
	want    Wanted
	answer  Answer
	verdict vm.Verdict // of genuine evidence
	config  *vm.Config // nil until it is shown to be the measured one
	other   system     // of another system's machine; nil for our own

	application []vm.Event // the application's log, once it is shown to be the quoted one
}

// Appraise judges one answer. It does no I/O.
func Appraise(answer Answer, want Wanted) Report {
	r := Report{URL: answer.URL, Time: want.Time.UTC(), TLSKey: answer.TLSKey}
	f := &finding{want: want, answer: answer}
	verdict, err := attest.Verify(answer.Attestation.Evidence, attest.Options{
		Roots: rootsWith(want.Roots), Time: want.Time, Policy: want.Policy, Early: want.Early,
	})
	if err != nil {
		r.Checks = notGenuine(answer, refusalOf(err))
	} else {
		f.verdict = verdict
		r.Machine, r.Anchor = &f.verdict, &f.verdict.Anchor
		if f.other = f.system(); f.other != nil {
			r.System, r.Checks, r.Warnings = f.other.name(), f.other.checks(), f.other.warnings()
		} else {
			r.Checks = f.contained(f.checks())
			r.Application = f.application
		}
	}
	// The evidence's own label is a hint by whoever sent it; a verdict's root is not.
	r.Soft = err == nil && verdict.TEE == vm.Soft || err != nil && answer.Attestation.Evidence.TEE == vm.Soft
	f.conclude(&r)
	return r
}

// checks is the whole verification, in the order in which people read it.
func (f *finding) checks() []Check {
	switch {
	case f.verdict.SNP != nil:
		return append(f.checksSNP(), f.checkGPUs()...)
	case f.verdict.SGX != nil:
		return f.checksSGX()
	}
	return append(f.checksTDX(), f.checkGPUs()...)
}

func (f *finding) checksTDX() []Check {
	configuration := f.checkConfiguration() // first: the others use the config once it is bound
	connection, fresh := f.checkFreshness(f.checkReportData())
	return []Check{
		// Is it a genuine machine, is it this one, and now?
		connection,
		fresh,
		f.checkQuote(),
		f.checkPlatform(),
		// Did it boot the image?
		f.checkFirmware(),
		f.checkKernel(),
		f.checkHardware(),
		f.checkSystem(),
		// Does it run the workload, under the configuration?
		f.checkWorkload(),
		configuration,
		f.checkBoot(),
	}
}

// notGenuine puts the refusal of the evidence where it belongs and leaves the
// rest open: what evidence says that is not genuine means nothing.
func notGenuine(answer Answer, r *vm.Refusal) []Check {
	failing := "quote"
	switch r.Code {
	case vm.CodeTCB, vm.CodeModule, vm.CodeDebug, vm.CodeAttributes, vm.CodeHardware:
		failing = "platform"
	case vm.CodeEvents:
		failing = "boot"
	case vm.CodeGPU, vm.CodeGPUMeasured:
		failing = "gpu"
	}
	tee := answer.Attestation.Evidence.TEE
	if failing == "quote" && tee == vm.Soft && r.Code == vm.CodeChain {
		r.Hint = "this is a soft TEE of a development machine, refused unless you name its root: " +
			"--trust-root FILE (`secretvm up` prints where it is); never do so for production"
	}
	names := []string{"connection", "fresh", "quote", "platform"}
	switch tee {
	case vm.SNP:
		names = append(names, "launch", "workload")
	case vm.SGX:
		names = append(names, "enclave")
	default:
		names = append(names, "firmware", "kernel", "hardware", "system", "workload", "configuration", "boot")
	}
	if !slices.Contains(names, failing) {
		names = append(names, failing)
	}
	var checks []Check
	for _, name := range names {
		if name == failing {
			checks = append(checks, fails(name, r))
			continue
		}
		checks = append(checks, fact(name, "not decided: the evidence is not accepted", ""))
	}
	return checks
}

// refusalOf finds the refusal in err; any other error is one of ours.
func refusalOf(err error) *vm.Refusal {
	var r *vm.Refusal
	if errors.As(err, &r) {
		copied := *r
		return &copied
	}
	return vm.Refuse(vm.CodeInternal, "%v", err)
}

// rootsWith are the roots of a verification: the vendors' alone, or with them
// those that the caller named.
func rootsWith(named []*x509.Certificate) []*x509.Certificate {
	if len(named) == 0 {
		return nil
	}
	all := append([]*x509.Certificate{attest.IntelRoot(), nvidia.DeviceRoot(), nvidia.RIMRoot()}, snp.Roots()...)
	return append(all, named...)
}
