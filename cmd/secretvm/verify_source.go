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

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
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
	switch c := j.answer.Container; {
	case c == nil && f.data != "":
		return usage(errors.New("--data is for a quote that a container asked for"))
	case c != nil && f.bundle != "":
		return usage(errors.New("--bundle is for machines that answer: this file is all that there is to keep"))
	case c != nil && j.form == verification.FormQuote:
		c.Granted = granted(j.want.Compose)
	}
	if j.answer.Recorded && !f.wishes() { // repeat the verdict: all is as recorded but the roots
		recorded.Roots, recorded.Wishes.Dev = j.want.Roots, recorded.Wishes.Dev || f.acceptDev
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
