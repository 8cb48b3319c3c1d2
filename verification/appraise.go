package verification

import (
	"crypto/x509"
	"errors"
	"fmt"
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
			r.Checks = f.checks()
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

// conclude writes verdict, summary and warnings from the checks.
func (f *finding) conclude(r *Report) {
	if r.Soft {
		r.Warnings = append(r.Warnings, "SOFT TEE: REAL FORMATS, NO CONFIDENTIALITY. THE MACHINE'S OPERATOR CAN READ AND CHANGE EVERYTHING IN IT.")
	}
	if f.config != nil && f.config.Images == "tag" {
		r.Warnings = append(r.Warnings, "container images are named by tag: what a tag means can change after deployment")
	}
	if f.verdict.Stale {
		r.Warnings = append(r.Warnings, "the collateral is out of date; the policy tolerates it until "+f.verdict.ValidUntil.UTC().Format(time.DateOnly))
	}
	if e := f.verdict.Early; e != nil && e.TCBStatus != f.verdict.TCBStatus {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the next TCB recovery (evaluation %d) will say %s%s of this platform: its operator has to update it", e.Evaluation, e.TCBStatus, advisories(e.Advisories)))
	}
	if f.want.Recorded && (f.wantsImage() || f.want.composeHash() != nil || f.want.Service != "" || f.want.Wishes.HostData != nil) {
		r.Warnings = append(r.Warnings, "compared with the wishes in the bundle, and judged by its policy, which whoever made it chose: pass --compose, --manifest or --policy to compare with your own")
	}
	var failed []string
	for _, c := range r.Checks {
		if c.OK == Fails {
			failed = append(failed, c.Name+": "+c.What)
		}
	}
	switch {
	case len(failed) > 0:
		r.Verdict, r.Summary = NotVerified, failed[0]
		if more := len(failed) - 1; more > 0 {
			r.Summary += fmt.Sprintf(" (and %d more)", more)
		}
	case len(f.missing()) > 0:
		r.Verdict, r.Summary = UnverifiedWorkload, f.unsaid()
	default:
		r.Verdict, r.Summary = Verified, f.verified(r.Soft)
	}
}

// verified says what holds, of what, and for whom.
func (f *finding) verified(soft bool) string {
	where := " on genuine Intel TDX."
	if f.verdict.SNP != nil {
		where = " on genuine AMD SEV-SNP."
	}
	if soft {
		where = ", ON A SOFT TEE that keeps nothing confidential."
	}
	file := "your compose file"
	switch {
	case f.want.composeHash() == nil:
		file = f.owned("exactly what your policy names", "exactly what the bundle names")
	case f.want.Recorded:
		file = "the bundle's compose file"
	}
	switch {
	case f.answer.Recorded:
		return "when this was recorded, the VM ran " + file + where
	case f.answer.Unseen():
		return "the VM that answered runs " + file + where + " Whether your connection ends in it, a browser cannot tell."
	case !f.answer.Connected():
		return "this evidence is of a VM that runs " + file + where
	}
	return "this VM runs " + file + where
}

// unsaid is the summary of genuine evidence that nobody said enough about.
func (f *finding) unsaid() string {
	const genuine = "genuine, but nobody said what it should be: "
	switch {
	case f.other == nil && f.verdict.SNP != nil:
		return genuine + "name " + list(f.missing()) + " in a policy, or pass --registry and --compose for an existing SecretVM"
	case f.verdict.SGX != nil:
		return "a genuine SGX enclave: what it is is shown, and nothing compared"
	case f.other == nil && !f.ours():
		return genuine + "of a secretvm machine pass --compose and --manifest, of an existing SecretVM --compose and --registry, of any other name image.registers in a policy"
	}
	return genuine + "pass " + list(f.missing())
}

// missing names the flags without which the workload is not compared.
func (f *finding) missing() (flags []string) {
	switch {
	case f.other != nil:
		return f.other.missing()
	case f.verdict.SNP != nil:
		return f.missingSNP()
	case f.verdict.SGX != nil:
		return []string{"--policy"}
	}
	if !f.wholeRegisters() {
		if f.want.composeHash() == nil {
			flags = append(flags, "--compose")
		}
		if f.want.filesHash() == nil && f.config != nil && f.config.FilesHash != nil {
			flags = append(flags, "--files")
		}
	}
	if !f.wantsImage() {
		flags = append(flags, "--manifest")
	}
	return flags
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

func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		out := words[0]
		for _, w := range words[1 : n-1] {
			out += ", " + w
		}
		return out + " and " + words[n-1]
	}
}
