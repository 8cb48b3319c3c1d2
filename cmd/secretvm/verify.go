package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// verifyFlags are the flags of verify.
type verifyFlags struct {
	compose, files, manifest, image string
	service, groupKey               string
	roots, registries               []string
	policy                          string
	at                              string
	bundle                          string
	data                            string
	json, verbose, early            bool
	acceptDev                       bool
	timeout                         time.Duration
	services                        serviceFlags
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify URL|FILE",
		Short: "Check that a machine is genuine and runs what you expect",
		Long: `verify asks the attestation service at URL (https, port 29343 unless named) for
a fresh quote over a random number, checks it up to the vendor's root
certificate, and compares what the machine measured with the files that you
pass: the compose file, byte for byte, and the manifest of the image; or with
a policy file, which says the same and more. Take them from the owner or from
your own build, never from the machine.

Everything is asked over one TLS connection, whose key the quote must name.
What you do not pass is shown with a · and not compared.

A FILE holds evidence that was kept: a bundle of --bundle, the answer of
GET /attestation or GET /bundle, a certificate with evidence (RA-TLS), or a
quote or report in any of its usual forms (TDX, SGX, SEV-SNP; raw, hex, base64;
of SecretVM or dstack machines too), or what a container got from its machine:
a quote about --data, the application's log (GET /application as well). There is
no connection then, and what it would show stays open. A bundle is judged at the
moment when it was made, and compared with the wishes in it unless you pass
your own.

Collateral that the evidence lacks is looked for in --collateral and in the
cache, then asked from the vendor, unless --offline.

An image for development (secretvm image build --dev) is refused unless you pass
--accept-dev. A soft TEE (a development machine) is refused unless you name its root with
--trust-root; its operator can read and change everything in it.

Exit codes:
  0  verified: every comparison holds, compose file and image among them
  1  refused: not genuine, or not what you expect
  2  wrong usage
  3  UNVERIFIED WORKLOAD: genuine, but --compose or --manifest is missing
  4  could not be reached`,
		Example: `  secretvm verify https://guestbook.example --compose docker-compose.yaml --manifest manifest.json
  secretvm verify 203.0.113.7:29343 --compose docker-compose.yaml --image ./image --service svm1.../guestbook
  secretvm verify https://127.0.0.1:29343 --compose docker-compose.yaml --image ./image --trust-root dev-root.pem
  secretvm verify https://guestbook.example --policy policy.yaml --bundle proof.zip
  secretvm verify proof.zip                                      # the same verdict, offline, years later
  secretvm verify quote.hex --collateral collateral.json --at 2025-07-01
  secretvm verify container.json --data $(sha256sum < answer.txt | cut -c-64) --compose docker-compose.yaml --image ./image
  secretvm verify https://guestbook.example --policy policy.yaml --json | jq .verdict`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return runVerify(c, args[0], f)
		},
	}
	f.register(c)
	flags := c.Flags()
	flags.StringVar(&f.bundle, "bundle", "", "keep every input and the report in this zip `FILE`")
	flags.StringVar(&f.data, "data", "", "a container's quote: the data that it should be about, `HEX`")
	flags.BoolVar(&f.json, "json", false, "print the report as one JSON document")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show everything that was learnt, event by event")
	return c
}

// register adds the flags that verify and explain share.
func (f *verifyFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.compose, "compose", "", "the compose `FILE` that the machine should run")
	flags.StringVar(&f.files, "files", "", "the archive `FILE` that belongs to the compose file, if there is one")
	flags.StringVar(&f.manifest, "manifest", "", "the manifest `FILE` of the image that it should boot")
	flags.StringVar(&f.image, "image", "", "the same, from the `FOLDER` of an image")
	flags.StringVar(&f.service, "service", "", "the service `ID` that it should belong to, owner/name")
	flags.StringVar(&f.groupKey, "kms", "", "the group `KEY` of the key manager that it should obey, hex")
	flags.StringVar(&f.policy, "policy", "", "a policy `FILE` (YAML) with all of these and more; flags go before it")
	flags.StringArrayVar(&f.registries, "registry", nil, "existing SecretVM: this `FILE` (tdx.csv, sev.json) lists known images (repeatable)")
	flags.StringArrayVar(&f.roots, "trust-root", nil, "accept this certificate `FILE` beside the vendors' roots (repeatable)")
	flags.StringVar(&f.at, "at", "", "judge at this `TIME`: 2025-07-01, 2025-07-01T12:00:00Z or now (default: now; for a bundle: when it was made)")
	flags.BoolVar(&f.acceptDev, "accept-dev", false, "accept an image for development, whose operator can run commands in the machine")
	flags.BoolVar(&f.early, "early", false, "ask what the next TCB recovery will say, too")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after this long")
	f.services.register(c)
	c.Flag("collateral").Usage = "look first into this `PATH`: folder or zip of secretvm collateral fetch, or a file of collateral or AMD certificates (repeatable)"
}

// runVerify is the whole command; exit codes follow from the report.
func runVerify(c *cobra.Command, target string, f verifyFlags) error {
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	out := c.OutOrStdout()

	// What does the caller want, and what is there to be judged?
	j, err := f.open(ctx, target, c.InOrStdin(), c.ErrOrStderr())
	if err != nil {
		return err
	}

	// Judge it.
	report := j.report()

	// Say so, and keep it.
	if j.unfound != nil && lacksCollateral(report) {
		sayMissing(c.ErrOrStderr(), j.unfound)
	}
	if err := writeReport(report, f, out); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if f.bundle != "" && j.answered() {
		if err := j.keep(f.bundle, report); err != nil {
			return err
		}
	} else if f.bundle != "" {
		fmt.Fprintf(c.ErrOrStderr(), "  nothing was answered: there is no bundle to keep\n")
	}
	if code := exitCodeOf(report); code != exitOK {
		return &exitError{code, nil}
	}
	return nil
}

// writeReport prints JSON, or lines with colours on a terminal.
func writeReport(r verification.Report, f verifyFlags, out io.Writer) error {
	if f.json {
		return printJSON(out, r)
	}
	if err := r.WriteText(out, colours(out)); err != nil || !f.verbose {
		return err
	}
	return r.WriteFacts(out)
}

// printJSON prints one indented document.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// lacksCollateral reports whether other collateral might change the verdict.
func lacksCollateral(r verification.Report) bool {
	return slices.ContainsFunc(r.Checks, func(c verification.Check) bool { return c.Code == vm.CodeCollateral || c.Code == vm.CodeExpired })
}

// colours reports whether out is a terminal whose user did not decline them.
func colours(out io.Writer) bool {
	_, noColour := os.LookupEnv("NO_COLOR")
	file, isFile := out.(*os.File)
	return isFile && !noColour && term.IsTerminal(int(file.Fd()))
}

func exitCodeOf(r verification.Report) int {
	switch r.Verdict {
	case verification.Verified:
		return exitOK
	case verification.UnverifiedWorkload:
		return exitUnverified
	case verification.Unreachable:
		return exitUnreachable
	}
	return exitRefused
}
