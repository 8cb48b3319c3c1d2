package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

func newExplainCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "explain URL|FILE|CODE",
		Short: "Say why a machine or its evidence is refused",
		Long: `explain verifies as verify does, with the same flags, and says of each check that
fails what was found and wanted, what the refusal code means, what to do, and
which events differ: of the workload by the list that the machine extended, of
firmware and kernel by its boot log and the files of the image (--image), where
both are at hand. For an old platform it names the part that is short.

explain CODE says what a refusal code means; explain codes lists them all.

Exit codes are those of verify; 0 for a code.`,
		Example: `  secretvm explain https://guestbook.example --compose docker-compose.yaml --image ./image
  secretvm explain proof.zip
  secretvm explain tcb-not-accepted`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if done, err := explainCode(c.OutOrStdout(), args[0], f.json); done {
				return err
			}
			return runExplain(c, args[0], f)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&f.json, "json", false, "print the report and the reasons as one JSON document")
	return c
}

// explained is the JSON document of explain.
type explained struct {
	Report  verification.Report   `json:"report"`
	Reasons []verification.Reason `json:"reasons"`
}

func runExplain(c *cobra.Command, target string, f verifyFlags) error {
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	j, err := f.open(ctx, target, c.InOrStdin(), c.ErrOrStderr())
	if err != nil {
		return err
	}
	report := j.report()
	reasons := verification.Explain(j.answer, j.want, report, f.predicted(report))
	out := c.OutOrStdout()
	if f.json {
		err = printJSON(out, explained{report, reasons})
	} else {
		err = verification.WriteReasons(out, report, reasons)
	}
	if err != nil {
		return fmt.Errorf("print reasons: %w", err)
	}
	if code := exitCodeOf(report); code != exitOK {
		return &exitError{code, nil}
	}
	return nil
}

// predicted recomputes what the image measures, from the files beside its
// manifest; nil where they are not at hand.
func (f *verifyFlags) predicted(r verification.Report) []vm.Event {
	path := f.image
	if path == "" && f.manifest != "" {
		path = filepath.Dir(f.manifest)
	}
	if path == "" || r.Machine == nil || len(r.Machine.BootLog) == 0 {
		return nil
	}
	shapes, err := measureImage(path)
	if err != nil || len(shapes) == 0 {
		return nil
	}
	for _, s := range shapes { // the machine's own size, if it is one of them
		if s.RTMR0 == r.Machine.Measurement.RTMR[0] {
			return s.Events
		}
	}
	return shapes[0].Events
}

// explainCode prints what a code means. It is done if the word is one.
func explainCode(out io.Writer, word string, asJSON bool) (done bool, err error) {
	list := vm.Explanations
	if word != "codes" {
		e, ok := vm.Explain(vm.Code(word))
		if !ok {
			return false, nil
		}
		list = []vm.Explanation{e}
	}
	if asJSON {
		return true, printJSON(out, list)
	}
	for _, e := range list {
		if _, err := fmt.Fprintf(out, "%s\n  means  %s\n  do     %s\n", e.Code, e.Means, e.Do); err != nil {
			return true, err
		}
	}
	return true, nil
}
