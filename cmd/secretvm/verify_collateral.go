package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

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
