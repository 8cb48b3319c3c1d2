package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/vm"
)

// observed reads the quoted registers and the events that the machine names.
func (f *diffFlags) observed(ctx context.Context, stdin io.Reader, target string) (tdx.Body, []vm.Event, error) {
	answer, err := readAnswer(ctx, stdin, target)
	if err != nil {
		return tdx.Body{}, nil, err
	}
	evidence := answer.Attestation.Evidence
	quote, err := tdx.Decode(evidence.Quote)
	if err != nil {
		return tdx.Body{}, nil, fmt.Errorf("%s: %w", target, err)
	}
	if f.log != "" {
		if evidence.BootLog, err = readAtMost(f.log, 4<<20); err != nil {
			return tdx.Body{}, nil, &exitError{exitUsage, fmt.Errorf("read boot log: %w", err)}
		}
	}
	var seen []vm.Event
	switch {
	case len(evidence.BootLog) > 0:
		log, err := eventlog.ParseCCEL(evidence.BootLog)
		if err != nil {
			return tdx.Body{}, nil, err
		}
		seen = log.Events()
	case len(answer.Log) > 0:
		log, err := eventlog.ParseDstack(answer.Log)
		if err != nil {
			return tdx.Body{}, nil, err
		}
		seen = log.Events()
	}
	return quote.Body, append(seen, evidence.Events...), nil
}

func readAnswer(ctx context.Context, stdin io.Reader, target string) (verification.Answer, error) {
	b, isFile, err := readTarget(target, stdin)
	if err != nil {
		return verification.Answer{}, &exitError{exitUsage, err}
	}
	if !isFile {
		address, err := verification.ParseAddress(target)
		if err != nil {
			return verification.Answer{}, &exitError{exitUsage, err}
		}
		answer, err := fetch.Any(ctx, address)
		if err != nil {
			return answer, &exitError{exitUnreachable, err}
		}
		return answer, nil
	}
	var answer verification.Answer
	if verification.IsBundle(b) {
		answer, _, err = verification.OpenBundle(b)
	} else {
		answer, _, err = verification.Recognise(b)
	}
	if err != nil {
		return answer, fmt.Errorf("%s: %w", target, err)
	}
	return answer, nil
}

// likeliestAtOnce is how many shapes are predicted before they are compared: logs
// of all of them would take much memory.
const likeliestAtOnce = 512

// likeliest is the shape whose RTMR0 is quoted, or else the common one whose
// RTMR0 differs in the fewest events.
func (im measuredImage) likeliest(quoted tdx.Body, seen []vm.Event) ([]vm.Shape, error) {
	best, fewest := vm.Shape{}, -1
	all := append(measure.Shapes(), measure.CommonShapes()...)
	for shapes := range slices.Chunk(all, likeliestAtOnce) { // those without GPUs come first
		logs, predictions, err := measure.PredictLogs(im.input, shapes)
		if err != nil {
			return nil, err
		}
		for i, s := range shapes {
			if predictions[i].RTMR0 == quoted.RTMR[0] {
				return []vm.Shape{s}, nil
			}
			n := 0
			for _, e := range logs[i] {
				if e.Register == 0 && !slices.ContainsFunc(seen, func(o vm.Event) bool { return o.Register == 0 && o.Digest == e.Digest }) {
					n++
				}
			}
			if fewest < 0 || n < fewest {
				best, fewest = s, n
			}
		}
	}
	if len(seen) == 0 {
		return nil, &exitError{exitUsage, errors.New("no common shape has the quoted RTMR0, and there is no boot log to find out more: name the --shape or the --log")}
	}
	return []vm.Shape{best}, nil
}
