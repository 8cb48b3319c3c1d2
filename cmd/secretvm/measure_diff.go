package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// compared is the JSON document of measure diff.
type compared struct {
	Shape       vm.Shape              `json:"shape"`
	Registers   []measure.Difference  `json:"registers"` // predicted and quoted
	Explained   bool                  `json:"explained"` // whether the machine's logs replay to the quoted registers
	Unexplained []string              `json:"unexplained,omitempty"`
	Events      []eventlog.Difference `json:"events"`
}

type diffFlags struct {
	json               bool
	shape, config, log string
	timeout            time.Duration
}

func newMeasureDiffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff MANIFEST URL|FILE",
		Short: "Say how a machine differs from a prediction, event by event",
		Long: `diff holds what a machine quotes against what its image predicts, register by
register, and what its boot log (CCEL) and event list say, event by event.
FILE is evidence in any form that verify reads; a boot log of its own is given
with --log, as in /sys/firmware/acpi/tables/data/CCEL.

The shape is the common one that differs least, unless it is named. The quote's
signature is not checked: that is verify's.

Exit code 0: no difference; 1: there are some.`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			return f.run(ctx, c.InOrStdin(), c.OutOrStdout(), args[0], args[1])
		},
	}
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().StringVar(&f.shape, "shape", "", "shape of the machine, such as 4x8G")
	c.Flags().StringVar(&f.config, "config", "", "JSON file with the measured config of the workload")
	c.Flags().StringVar(&f.log, "log", "", "file with the machine's boot log (CCEL)")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after this long")
	return c
}

func (f *diffFlags) run(ctx context.Context, stdin io.Reader, out io.Writer, image, target string) error {
	var named []string
	if f.shape != "" {
		named = append(named, f.shape)
	}
	shapes, err := parseShapes(named)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	var config *vm.Config
	if f.config != "" {
		if config, err = readConfig(f.config); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	im, err := openMeasured(image)
	if err != nil {
		return err
	}
	quoted, seen, err := f.observed(ctx, stdin, target)
	if err != nil {
		return err
	}
	if len(shapes) == 0 {
		if shapes, err = im.likeliest(quoted, seen); err != nil {
			return err
		}
	}
	predicted, err := im.predict(shapes, config)
	if err != nil {
		return err
	}
	result := compare(predicted[0], quoted, seen)
	if f.json {
		err = printJSON(out, result)
	} else {
		_, err = io.WriteString(out, result.String())
	}
	if err != nil {
		return fmt.Errorf("print differences: %w", err)
	}
	if len(result.Registers)+len(result.Events) > 0 || !result.Explained {
		return &exitError{exitRefused, nil}
	}
	return nil
}

// compare holds predicted registers and events against those of a machine.
// Registers whose log is not there are compared by value alone.
func compare(p measured, quoted tdx.Body, seen []vm.Event) compared {
	c := compared{Shape: p.Shape, Explained: true}
	c.Registers = measure.Differences(p.Prediction, vm.Prediction{
		MRTD: quoted.MRTD, RTMR0: quoted.RTMR[0], RTMR1: quoted.RTMR[1], RTMR2: quoted.RTMR[2],
	})
	if quoted.MRTD == p.MRTDTwoPass { // the other order of pages is as good
		c.Registers = slices.DeleteFunc(c.Registers, func(d measure.Difference) bool { return d.Register == "mrtd" })
	}
	for _, extra := range []struct {
		name        string
		want, found *vm.Register
	}{{"rtmr3", p.RTMR3, &quoted.RTMR[3]}, {"mr_config_id", p.ConfigID, &quoted.MRConfigID}} {
		if extra.want != nil && *extra.want != *extra.found {
			c.Registers = append(c.Registers, measure.Difference{Register: extra.name, Want: *extra.want, Found: *extra.found})
		}
	}
	replayed, err := vm.Replay(seen)
	for i := range quoted.RTMR {
		listed := slices.ContainsFunc(seen, func(e vm.Event) bool { return e.Register == i })
		if listed && (err != nil || replayed[i] != quoted.RTMR[i]) {
			c.Explained = false
			c.Unexplained = append(c.Unexplained, fmt.Sprintf("rtmr%d", i))
		}
		if !listed || i == vm.RuntimeRegister && p.RTMR3 == nil {
			p.Events = slices.DeleteFunc(p.Events, func(e vm.Event) bool { return e.Register == i })
			seen = slices.DeleteFunc(slices.Clone(seen), func(e vm.Event) bool { return e.Register == i })
		}
	}
	c.Events = eventlog.Diff(p.Events, seen)
	return c
}

// String is the comparison for people.
func (c compared) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "against %s\n", describe(c.Shape))
	if len(c.Registers) == 0 {
		b.WriteString(" ✓ all registers are as predicted\n")
	}
	for _, d := range c.Registers {
		fmt.Fprintf(&b, " ✗ %s is %s\n   predicted   %s\n", strings.ToUpper(d.Register), d.Found, d.Want)
	}
	for _, name := range c.Unexplained {
		fmt.Fprintf(&b, " ✗ the machine's log does not replay to the quoted %s: it is cut, changed or of another boot\n", strings.ToUpper(name))
	}
	for _, d := range c.Events {
		fmt.Fprintf(&b, "   %s\n", d)
	}
	return b.String()
}
