package verification

import (
	"fmt"
	"strings"
	"time"
)

// conclude writes verdict, summary and warnings from the checks.
func (f *finding) conclude(r *Report) {
	if r.Soft {
		r.Warnings = append(r.Warnings, "SOFT TEE: REAL FORMATS, NO CONFIDENTIALITY. THE MACHINE'S OPERATOR CAN READ AND CHANGE EVERYTHING IN IT.")
	}
	if f.config != nil && f.config.Dev {
		r.Warnings = append(r.Warnings, "IMAGE FOR DEVELOPMENT: THE MACHINE'S OPERATOR CAN RUN COMMANDS IN IT AND IN ITS CONTAINERS.")
	}
	if f.config != nil && f.config.Images == "tag" {
		r.Warnings = append(r.Warnings, "container images are named by tag: what a tag means can change after deployment")
	}
	if f.config != nil && len(f.config.Privileged) > 0 {
		r.Warnings = append(r.Warnings, "containers are trusted with the machine itself, its TEE included, and could speak in its name: services "+strings.Join(f.config.Privileged, ", "))
	}
	if f.config != nil && len(f.config.Pins) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("which %d container images run is not in the compose file but in the measured config: see pins in /config", len(f.config.Pins)))
	}
	if f.config != nil {
		for _, weakness := range f.config.KMS.Weaknesses() {
			r.Warnings = append(r.Warnings, "keys from "+f.config.KMS.Provider+": "+weakness)
		}
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
	case f.answer.Connected() && f.answer.Claims != nil:
		return "this VM runs " + file + where + " Its certificate says so, which answers no random number."
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
	if c := f.answer.Container; c != nil && c.Register == nil && f.want.Data == nil {
		flags = append(flags, "--data")
	}
	return flags
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
