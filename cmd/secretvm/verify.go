package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
)

// verifyFlags are the flags of verify.
type verifyFlags struct {
	compose, files, manifest, image string
	service, groupKey               string
	roots                           []string
	json                            bool
	timeout                         time.Duration
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify URL",
		Short: "Check that the machine at URL is genuine and runs what you expect",
		Long: `verify asks the attestation service at URL (https, port 29343 unless named) for
a fresh quote over a random number, checks it up to Intel's root certificate,
and compares what the machine measured with the files that you pass: the
compose file, byte for byte, and the manifest of the image. Take both from the
owner or from your own build, never from the machine.

Everything is asked over one TLS connection, whose key the quote must name.
What you do not pass is shown with a · and not compared.

A soft TEE (a development machine) is refused unless you name its root with
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
  secretvm verify https://guestbook.example --compose docker-compose.yaml --manifest manifest.json --json | jq .verdict`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return runVerify(c.Context(), args[0], f, c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.compose, "compose", "", "the compose `FILE` that the machine should run")
	flags.StringVar(&f.files, "files", "", "the archive `FILE` that belongs to the compose file, if there is one")
	flags.StringVar(&f.manifest, "manifest", "", "the manifest `FILE` of the image that it should boot")
	flags.StringVar(&f.image, "image", "", "the same, from the `FOLDER` of an image")
	flags.StringVar(&f.service, "service", "", "the service `ID` that it should belong to, owner/name")
	flags.StringVar(&f.groupKey, "kms", "", "the group `KEY` of the key manager that it should obey, hex")
	flags.StringArrayVar(&f.roots, "trust-root", nil, "accept this certificate `FILE` beside Intel's root (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print the report as one JSON document")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after this long")
	return c
}

// runVerify is the whole command; exit codes follow from the report.
func runVerify(ctx context.Context, url string, f verifyFlags, out io.Writer) error {
	// What does the caller want?
	address, err := verification.ParseAddress(url)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	want, err := f.wanted()
	if err != nil {
		return &exitError{exitUsage, err}
	}

	// What does the machine say?
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var report verification.Report
	answer, err := fetch.Fetch(ctx, address)
	want.Time = time.Now()
	if err != nil {
		report = verification.Unanswered(address, err, want.Time)
	} else {
		report = verification.Appraise(answer, want)
	}

	// Say so.
	if err := writeReport(report, f.json, out); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if code := exitCodeOf(report); code != exitOK {
		return &exitError{code, nil}
	}
	return nil
}

// wanted reads the files that the flags name.
func (f verifyFlags) wanted() (w verification.Wanted, err error) {
	w.Service = f.service
	if key, err := hex.DecodeString(f.groupKey); err != nil || f.groupKey != "" && len(key) != 96 {
		return w, fmt.Errorf("--kms: want the 192 hex digits of a group key, as `kmsd status` prints them")
	} else if f.groupKey != "" {
		w.GroupKey = hex.EncodeToString(key)
	}
	if w.Compose, err = readWanted("--compose", f.compose); err != nil {
		return w, err
	}
	if w.Files, err = readWanted("--files", f.files); err != nil {
		return w, err
	}
	if w.Manifest, err = f.readManifest(); err != nil {
		return w, err
	}
	for _, path := range f.roots {
		pem, err := readWanted("--trust-root", path)
		if err != nil {
			return w, err
		}
		roots, err := verification.ParseRoots(pem)
		if err != nil {
			return w, fmt.Errorf("--trust-root %s: %w", path, err)
		}
		w.Roots = append(w.Roots, roots...)
	}
	return w, nil
}

// writeReport prints JSON, or lines with colours on a terminal.
func writeReport(r verification.Report, asJSON bool, out io.Writer) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, noColour := os.LookupEnv("NO_COLOR")
	file, isFile := out.(*os.File)
	return r.WriteText(out, isFile && !noColour && term.IsTerminal(int(file.Fd())))
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
