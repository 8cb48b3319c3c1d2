package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// printMeasured prints all shapes that were named; where none was, the first,
// which is the default, and those that differ from the manifest.
func printMeasured(out io.Writer, results []measured, named bool) error {
	var b strings.Builder
	quiet := 0
	for i, r := range results {
		if !named && i > 0 && len(r.Differences) == 0 {
			quiet++
			continue
		}
		fmt.Fprintf(&b, "%s (%s)\n", describe(r.Shape), r.TEE)
		differs := map[string]vm.Register{}
		for _, d := range r.Differences {
			differs[d.Register] = d.Want
		}
		for _, reg := range []struct {
			name, key string
			value     *vm.Register
		}{
			{"MRTD", "mrtd", &r.MRTD},
			{"RTMR0", "rtmr0", &r.RTMR0},
			{"RTMR1", "rtmr1", &r.RTMR1},
			{"RTMR2", "rtmr2", &r.RTMR2},
			{"RTMR3", "", r.RTMR3},
			{"MR_CONFIG_ID", "", r.ConfigID},
		} {
			if reg.value == nil {
				continue
			}
			want, is := differs[reg.key]
			mark := "✓"
			if is {
				mark = "✗"
			}
			fmt.Fprintf(&b, " %s %-5s %s\n", mark, reg.name, reg.value)
			if is {
				fmt.Fprintf(&b, "   the manifest has %s\n", want)
			}
		}
		fmt.Fprintf(&b, "   on hosts that measure section by section:\n   MRTD  %s\n", r.MRTDTwoPass)
		if s := r.SNP; s != nil {
			fmt.Fprintf(&b, "   SEV-SNP, %d × %s: %s\n   or, where the host's kernel swaps debug registers: %s\n", s.CPUs, s.Model, s.Digest, s.DebugSwap)
			if s.HostData != nil {
				fmt.Fprintf(&b, "   HOST_DATA %s\n", s.HostData)
			}
		}
		for _, e := range r.Events {
			payload := string(e.Payload)
			if e.Register == vm.RuntimeRegister {
				payload = fmt.Sprintf("%x", e.Payload)
			}
			fmt.Fprintf(&b, "     RTMR%d %-16s %s…  %s\n", e.Register, e.Name, e.Digest.String()[:16], payload)
		}
	}
	if quiet > 0 {
		fmt.Fprintf(&b, "and %d more shapes, all as the manifest has them (--shape shows one, --json all)\n", quiet)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// describe writes a shape for people.
func describe(s vm.Shape) string {
	text := fmt.Sprintf("%d vCPUs, %d MiB", s.CPUs, s.Memory>>20)
	if s.GPUs > 0 {
		text += fmt.Sprintf(", %d GPUs", s.GPUs)
	}
	return text
}

// printRecord prints what an owner registers.
func printRecord(out io.Writer, im measuredImage, shapes []vm.Shape, config *vm.Config) error {
	r, err := recordOf(im, shapes, config)
	if err != nil {
		return err
	}
	text, err := r.Encode()
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print record: %w", err)
	}
	return nil
}

// recordOf predicts what an owner registers, for all common shapes unless some
// are named.
func recordOf(im measuredImage, shapes []vm.Shape, config *vm.Config) (r measure.Record, err error) {
	if len(shapes) == 0 {
		shapes = measure.CommonShapes()
	}
	m := im.manifest
	r = measure.Record{
		Version: measure.RecordVersion, Description: m.Name + " " + m.Release, Kernel: m.Kernel.SHA256, Initramfs: m.Initramfs.SHA256,
		CommandLine: m.CommandLine, RootHash: m.Verity.RootHash,
	}
	if r.TDX, err = measure.PredictTDX(im.input, shapes); err != nil {
		return r, err
	}
	if im.snp != nil {
		if r.SNP, err = im.snp.record(shapes); err != nil {
			return r, err
		}
	}
	if config != nil {
		of := measured{}
		template := config.Template()
		if err := of.add(m.Verity.RootHash, template); err != nil {
			return r, err
		}
		r.Workload = &measure.Workload{RTMR3: *of.RTMR3, Template: template}
	}
	return r, nil
}
