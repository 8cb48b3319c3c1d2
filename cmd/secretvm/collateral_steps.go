package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/vm"
)

// steps turns the command line into a list of what is fetched.
func (f fetchFlags) steps(args []string, o endorsement.Options) (steps []step.Step, err error) {
	for _, arg := range args {
		steps = append(steps, evidenceStep(arg, o))
	}
	for _, fmspc := range f.fmspc {
		p := endorsement.IntelPlatform{TEE: f.tee, FMSPC: strings.ToLower(fmspc), CA: f.ca}
		if err := p.Check(); err != nil {
			return nil, &exitError{exitUsage, err}
		}
		steps = append(steps, step.Step{Name: "Intel", Run: func(ctx context.Context) (string, error) { return fetchIntel(ctx, p, o) }})
	}
	for _, product := range f.product {
		steps = append(steps, step.Step{Name: "AMD", Run: func(ctx context.Context) (string, error) { return product, endorsement.AMD(ctx, product, o) }})
	}
	for _, id := range f.rims {
		steps = append(steps, step.Step{Name: "NVIDIA", Run: func(ctx context.Context) (string, error) { return id, endorsement.RIM(ctx, id, o) }})
	}
	return steps, nil
}

// fetchIntel fetches what counts today, and the early set where there is one.
func fetchIntel(ctx context.Context, p endorsement.IntelPlatform, o endorsement.Options) (string, error) {
	if _, err := endorsement.Intel(ctx, p, o); err != nil {
		return "", err
	}
	return "FMSPC " + p.FMSPC + early(ctx, p, o), nil
}

// early fetches the early set. Many services have none, which is no failure.
func early(ctx context.Context, p endorsement.IntelPlatform, o endorsement.Options) string {
	o.Refresh = false // what counts today was asked for just now
	switch set, err := endorsement.IntelEarly(ctx, p, o); {
	case err != nil:
		return ", no early set"
	case set != nil:
		return ", a TCB recovery is announced"
	}
	return ", no TCB recovery announced"
}

// evidenceStep fetches what the evidence in a file, or of a machine, needs.
func evidenceStep(from string, o endorsement.Options) step.Step {
	return step.Step{Name: "evidence", Run: func(ctx context.Context) (string, error) {
		ev, err := readEvidence(ctx, from)
		if err != nil {
			return "", err
		}
		// All of it, also what the evidence carries: that may end sooner.
		if err := endorsement.Complete(ctx, bare(ev), o); err != nil {
			return "", err
		}
		remark := from
		if p, err := endorsement.PlatformOf(ev.Quote); err == nil {
			remark = "FMSPC " + p.FMSPC + early(ctx, p, o)
		}
		return remark, nil
	}}
}

// bare is evidence without what vendors sign.
func bare(ev vm.Evidence) *vm.Evidence {
	ev.Collateral = nil
	if ev.AMD != nil { // a VLEK is with its provider only
		ev.AMD = &vm.AMDCollateral{EndorsementKey: ev.AMD.EndorsementKey}
	}
	if ev.GPU != nil {
		gpu := *ev.GPU
		gpu.RIMs, gpu.OCSP = nil, nil
		ev.GPU = &gpu
	}
	return &ev
}

// readEvidence reads a file if there is one of that name, and asks a machine
// otherwise.
func readEvidence(ctx context.Context, from string) (vm.Evidence, error) {
	b, err := readBounded(from)
	switch {
	case err == nil && store.IsZip(b):
		answer, _, err := verification.OpenBundle(b)
		return answer.Attestation.Evidence, err
	case err == nil:
		answer, _, err := verification.Recognise(b)
		return answer.Attestation.Evidence, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return vm.Evidence{}, err
	}
	address, addressErr := verification.ParseAddress(from)
	if addressErr != nil || !strings.ContainsAny(from, ".:") {
		return vm.Evidence{}, fmt.Errorf("%s is neither a file nor the address of a machine", from)
	}
	answer, err := fetch.Fetch(ctx, address)
	return answer.Attestation.Evidence, err
}

// maxEvidence bounds a file with evidence: everything that vm allows, in base64.
const maxEvidence = 16 << 20

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEvidence+1))
	if err == nil && len(b) > maxEvidence {
		err = fmt.Errorf("%s has more than %d bytes", name, maxEvidence)
	}
	return b, err
}
