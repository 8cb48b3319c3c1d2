package verifier

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/vm"
)

// Contents lists a bundle before anything of it is believed.
type Contents struct {
	URL      string    `json:"url"`
	Time     time.Time `json:"time"` // of its maker's verdict
	Compares []string  `json:"compares"`
	Roots    []Root    `json:"roots,omitempty"`
}

// Root is a certificate that a bundle brings along.
type Root struct {
	Subject string  `json:"subject"`
	SHA256  vm.Hash `json:"sha256"` // of its DER
}

// judgeBundle repeats the verdict of a bundle, or judges it by the caller's own
// wishes where there are any.
func judgeBundle(c Call) (result, error) {
	answer, recorded, err := verification.OpenBundle(c.Input)
	if err != nil {
		return result{}, err
	}
	return c.appraise(answer, recorded)
}

func listBundle(c Call) (result, error) {
	answer, want, err := verification.OpenBundle(c.Input)
	if err != nil {
		return result{}, err
	}
	list := Contents{URL: answer.URL, Time: want.Time.UTC(), Compares: []string{}}
	for _, wish := range []struct {
		name string
		made bool
	}{
		{"compose file", want.Compose != nil},
		{"files", want.Files != nil},
		{"image manifest", want.Manifest != nil},
		{"service " + want.Service, want.Service != ""},
		{"key manager", want.GroupKey != ""},
	} {
		if wish.made {
			list.Compares = append(list.Compares, wish.name)
		}
	}
	for _, root := range want.BundleRoots {
		list.Roots = append(list.Roots, Root{Subject: root.Subject.String(), SHA256: vm.HashOf(root.Raw)})
	}
	return result{Contents: &list}, nil
}

// judgeAnswer judges what a machine just said to the caller's nonce. The
// caller did not see the connection's key.
func judgeAnswer(c Call) (result, error) {
	attestation, err := verification.ParseAttestation(c.Input)
	if err != nil {
		return result{}, err
	}
	nonce, err := hex.DecodeString(string(c.Fields["nonce"]))
	if err != nil || len(nonce) < vm.MinNonceSize {
		return result{}, vm.Refuse(vm.CodeInvalid, "the nonce of an answer must be given").On("nonce", "", "hex")
	}
	took, err := strconv.ParseUint(string(c.Fields["took_ms"]), 10, 32)
	if err != nil {
		return result{}, vm.Refuse(vm.CodeInvalid, "took_ms is not a number of milliseconds")
	}
	return c.appraise(verification.Answer{
		URL: string(c.Fields["url"]), Nonce: nonce, Asked: c.Now, Took: time.Duration(took) * time.Millisecond,
		Attestation: attestation, Config: c.Fields["config"],
	}, verification.Wanted{})
}

// showAnything decodes a file and verifies nothing.
func showAnything(c Call) (result, error) {
	shown, err := exhibit.Of(c.Input)
	return result{Shown: &shown}, err
}

func readAddress(c Call) (result, error) {
	a, err := verification.ParseAddress(strings.TrimSpace(string(c.Input)))
	return result{Address: a.String()}, err
}

// reportUnanswered makes the report for a machine that could not be asked; the
// input is the refusal that says why.
func reportUnanswered(c Call) (result, error) {
	a, err := verification.ParseAddress(string(c.Fields["url"]))
	if err != nil {
		return result{}, err
	}
	var why vm.Refusal
	if err := json.Unmarshal(c.Input, &why); err != nil {
		return result{}, vm.Refuse(vm.CodeInvalid, "the reason is not a refusal: %.100v", err)
	}
	return reported(verification.Unanswered(a, &why, c.Now))
}

// appraise judges answer by the caller's wishes. Collateral that the caller
// passes takes the place of what came along; it is signed.
func (c Call) appraise(answer verification.Answer, recorded verification.Wanted) (result, error) {
	want, err := c.wanted(recorded)
	if err != nil {
		return result{}, err
	}
	for _, b := range c.files("collateral") {
		if err := addCollateral(&answer.Attestation.Evidence, b); err != nil {
			return result{}, err
		}
	}
	return reported(verification.Appraise(answer, want))
}

// addCollateral reads Intel's collateral or, for an SEV-SNP report, certificates
// and revocation lists.
func addCollateral(ev *vm.Evidence, b []byte) (err error) {
	if ev.TEE == vm.SNP {
		amd := vm.AMDCollateral{}
		if ev.AMD != nil {
			amd = *ev.AMD
		}
		if verification.AddCertificates(&amd, b) {
			ev.AMD = &amd
			return nil
		}
	}
	ev.Collateral, err = verification.ParseCollateral(b)
	return err
}

func reported(r verification.Report) (result, error) {
	var text, facts strings.Builder
	err := errors.Join(r.WriteText(&text, false), r.WriteFacts(&facts))
	return result{Report: &r, Text: text.String(), Facts: facts.String()}, err
}

// refusalOf finds the refusal in err; any other error is about an option.
func refusalOf(err error) *vm.Refusal {
	var r *vm.Refusal
	if errors.As(err, &r) {
		return r
	}
	return vm.Refuse(vm.CodeInvalid, "%v", err)
}

// judgeEvidence judges evidence that was found in a file, in any form.
func judgeEvidence(c Call) (result, error) {
	answer, _, err := verification.Recognise(c.Input)
	if err != nil {
		return result{}, err
	}
	return c.appraise(answer, verification.Wanted{})
}
