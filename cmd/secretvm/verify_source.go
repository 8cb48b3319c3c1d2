package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/vm"
)

// judgement is everything that a verdict follows from.
type judgement struct {
	answer  verification.Answer
	want    verification.Wanted
	form    verification.Form
	address verification.Address
	failure error // nothing was answered
	unfound error // collateral that could not be found
}

// open finds out what the caller wants and what there is to judge. Errors are
// of usage; that a machine did not answer is part of the judgement.
func (f *verifyFlags) open(ctx context.Context, target string, stdin io.Reader, notes io.Writer) (j judgement, err error) {
	usage := func(err error) (judgement, error) { return judgement{}, &exitError{exitUsage, err} }
	if j.want, err = f.wanted(); err != nil {
		return usage(err)
	}
	var recorded verification.Wanted
	b, isFile, err := readTarget(target, stdin)
	switch {
	case err != nil:
		return usage(err)
	case !isFile:
		if j.address, err = verification.ParseAddress(target); err != nil {
			return usage(err)
		}
		j.answer, j.failure = fetch.Any(ctx, j.address)
	case verification.IsBundle(b):
		j.form = "bundle of secretvm verify"
		if j.answer, recorded, err = verification.OpenBundle(b); err != nil {
			return judgement{}, &exitError{exitRefused, fmt.Errorf("%s: %w", target, err)}
		}
	default:
		if j.answer, j.form, err = verification.Recognise(b); err != nil {
			return judgement{}, &exitError{exitRefused, fmt.Errorf("%s: %w", target, err)}
		}
	}
	if j.answer.Recorded && !f.wishes() { // repeat the verdict: all is as recorded but the roots
		recorded.Roots = j.want.Roots
		j.want = recorded
	} else if j.answer.Recorded {
		j.want.Time, j.want.BundleRoots = recorded.Time, recorded.BundleRoots
	}
	if err := f.setTime(&j.want); err != nil {
		return usage(err)
	}
	if j.failure != nil {
		return j, nil
	}
	return j, f.complete(ctx, &j, notes)
}

// readTarget reads the file of that name, or standard input for "-". A URL is
// no file; neither is a name that no file has.
func readTarget(target string, stdin io.Reader) (b []byte, isFile bool, err error) {
	if target == "-" {
		b, err = io.ReadAll(io.LimitReader(stdin, verification.MaxBundleSize+1))
		return b, true, err
	}
	if strings.Contains(target, "://") {
		return nil, false, nil
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist) && looksLikePath(target):
		return nil, false, fmt.Errorf("%s does not exist", target)
	case err != nil:
		return nil, false, nil //nolint:nilerr // what cannot be a file is an address
	case info.IsDir():
		return nil, false, fmt.Errorf("%s is a folder: name the file of evidence in it", target)
	case info.Size() > verification.MaxBundleSize:
		return nil, false, fmt.Errorf("%s has %d bytes, want at most %d", target, info.Size(), verification.MaxBundleSize)
	}
	b, err = os.ReadFile(target)
	return b, true, err
}

// looksLikePath tells a file that is missing from a host.
func looksLikePath(target string) bool {
	for _, end := range []string{".zip", ".json", ".bin", ".dat", ".hex", ".txt"} {
		if strings.HasSuffix(target, end) {
			return true
		}
	}
	return strings.HasPrefix(target, ".") || strings.HasPrefix(target, "/")
}

// setTime decides when to judge: --at, else the time in a bundle, else now.
func (f *verifyFlags) setTime(w *verification.Wanted) error {
	switch {
	case f.at == "now" || f.at == "" && w.Time.IsZero():
		w.Time = time.Now()
		return nil
	case f.at == "":
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, f.at); err == nil {
			w.Time = t
			return nil
		}
	}
	return fmt.Errorf("--at %q is no time: write 2025-07-01, 2025-07-01T12:00:00Z or now", f.at)
}

// complete finds the collateral that evidence lacks. That it cannot be found
// is no error: the verdict says what is missing.
func (f *verifyFlags) complete(ctx context.Context, j *judgement, notes io.Writer) error {
	archives, err := f.readCollateral(&j.answer.Attestation.Evidence)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	services := f.services
	services.archives = archives
	note := func(format string, args ...any) {
		if f.verbose {
			fmt.Fprintf(notes, "  collateral: "+format+"\n", args...)
		}
	}
	o, err := services.options(note)
	if err != nil {
		return err
	}
	o.Time = j.want.Time
	o.Offline = o.Offline || j.answer.Recorded // a bundle has every input; another would give another verdict
	if err := endorsement.Complete(ctx, &j.answer.Attestation.Evidence, o); err != nil {
		j.unfound = err
	}
	if j.want.Early == nil {
		o.Offline = o.Offline || !f.early
		if j.want.Early, err = endorsement.Early(ctx, j.answer.Attestation.Evidence, o); err != nil && f.early {
			note("next TCB recovery: %v", err)
		}
	}
	return nil
}

// readCollateral puts files that are collateral or certificates themselves into
// the evidence, and returns the other paths: folders and archives to look into.
func (f *verifyFlags) readCollateral(ev *vm.Evidence) (archives []string, err error) {
	for _, path := range f.services.archives {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("--collateral: %w", err)
		}
		if info.IsDir() {
			archives = append(archives, path)
			continue
		}
		b, err := readWanted("--collateral", path)
		if err != nil {
			return nil, err
		}
		if verification.IsBundle(b) { // a zip file: endorsement says what kind
			archives = append(archives, path)
			continue
		}
		if ev.TEE == vm.SNP {
			if ev.AMD == nil {
				ev.AMD = &vm.AMDCollateral{}
			}
			if verification.AddCertificates(ev.AMD, b) {
				continue
			}
		}
		if ev.Collateral, err = verification.ParseCollateral(b); err != nil {
			return nil, fmt.Errorf("--collateral %s: %w", path, err)
		}
	}
	return archives, nil
}

// answered reports whether there is anything to keep.
func (j judgement) answered() bool { return j.failure == nil }

// report judges.
func (j judgement) report() verification.Report {
	if j.failure != nil {
		return verification.Unanswered(j.address, j.failure, j.want.Time)
	}
	return verification.Appraise(j.answer, j.want)
}

// keep writes the bundle, whole or not at all.
func (j judgement) keep(path string, r verification.Report) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".bundle-*")
	if err != nil {
		return fmt.Errorf("--bundle: %w", err)
	}
	defer os.Remove(file.Name())
	err = errors.Join(verification.WriteBundle(file, j.answer, j.want, r), file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("--bundle %s: %w", path, err)
	}
	return nil
}
