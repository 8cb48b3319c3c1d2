package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/progress"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// fetchFlags are the flags of collateral fetch.
type fetchFlags struct {
	services serviceFlags
	fmspc    []string
	ca, tee  string
	product  []string
	rims     []string
	output   string
	cached   bool
	json     bool
	timeout  time.Duration
}

func newCollateralFetchCommand() *cobra.Command {
	var f fetchFlags
	c := &cobra.Command{
		Use:   "fetch [FILE|URL]...",
		Short: "Fetch what vendors sign about platforms, into the cache or an archive",
		Long: `fetch asks the vendors for everything that is needed to verify the evidence in
FILE, or of the machine at URL, or for the platforms that flags name, and keeps
it in the cache. With -o it is written to a folder too, or to a zip: carry that
to a machine without a network and pass it to verify --collateral.

For Intel's platforms the early set comes along where the service has one: it
says what the next TCB recovery will think of them.

Asking is what it is for: what is fresh in the cache is asked for again, unless
--cached. Intel, AMD and NVIDIA learn from it which platforms you look at; a
PCCS of your own hides that from Intel.

Exit codes: 0 fetched, 1 refused (a service does not know the platform, or
answers with nonsense), 2 wrong usage, 4 a service could not be reached; what
could be fetched, and what was at hand, is written all the same.`,
		Example: `  secretvm collateral fetch https://vm.example:29343
  secretvm collateral fetch quote.bin -o collateral.zip
  secretvm collateral fetch --fmspc b0c06f000000 --ca platform -o collateral.zip
  secretvm collateral fetch --fmspc b0c06f000000 --pccs https://pccs.example:8081
  secretvm collateral fetch --product Genoa --product Milan -o ./collateral
  secretvm verify evidence.json --collateral collateral.zip --offline`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args)+len(f.fmspc)+len(f.product)+len(f.rims) == 0 {
				return &exitError{exitUsage, errors.New("name evidence (a FILE or a URL), or --fmspc, --product or --manifest (see secretvm collateral fetch --help)")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runFetch(c, args, f) },
	}
	flags := c.Flags()
	f.services.registerAddresses(c)
	flags.StringArrayVar(&f.fmspc, "fmspc", nil, "an Intel platform: its FMSPC, 12 `HEX` digits (repeatable)")
	flags.StringVar(&f.ca, "ca", "platform", "who certified --fmspc: platform or processor")
	flags.StringVar(&f.tee, "tee", "tdx", "what --fmspc quotes: tdx or sgx")
	flags.StringArrayVar(&f.product, "product", nil, "an AMD `PRODUCT` line: Milan, Genoa, Turin (repeatable); chips need evidence")
	flags.StringArrayVar(&f.rims, "manifest", nil, "an NVIDIA reference manifest by its `ID` (repeatable)")
	flags.StringVarP(&f.output, "output", "o", "", "write what was fetched to this `FOLDER or .zip` too")
	flags.BoolVar(&f.cached, "cached", false, "use what is fresh in the cache")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "give up after this long")
	return c
}

// haul collects what one fetch finds.
type haul struct {
	entries map[string]store.Entry
	outages []error
}

func (h *haul) add(x endorsement.Finding) {
	h.entries[x.Request] = x.Entry
	if x.Outage != nil {
		h.outages = append(h.outages, x.Outage)
	}
}

func (h *haul) list() []store.Entry {
	list := make([]store.Entry, 0, len(h.entries))
	for _, e := range h.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b store.Entry) int { return strings.Compare(a.Request, b.Request) })
	return list
}

// runFetch is the whole command. A failed step does not stop the others: what
// can be had is worth having.
func runFetch(c *cobra.Command, args []string, f fetchFlags) error {
	printer := progress.New(c.ErrOrStderr())
	o, err := f.services.options(printer.Note)
	if err != nil {
		return err
	}
	h := &haul{entries: map[string]store.Entry{}}
	o.Refresh, o.Found = !f.cached, h.add
	steps, err := f.steps(args, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	var failures []error
	for _, s := range steps {
		if err := step.Run(ctx, printer, s); err != nil {
			failures = append(failures, err)
		}
	}
	if f.output != "" && len(h.entries) > 0 {
		write := step.Step{Name: "write", Run: func(context.Context) (string, error) {
			return fmt.Sprintf("%d objects to %s", len(h.entries), f.output), writeHaul(f.output, h.list())
		}}
		if err := step.Run(c.Context(), printer, write); err != nil {
			return err
		}
	}
	if len(h.entries) > 0 || f.json {
		if err := writeInventory(c.OutOrStdout(), endorsement.SurveyEntries("fetched", h.list(), time.Now()), f.json); err != nil {
			return err
		}
	}
	return fetched(failures, h.outages)
}

// fetched turns what went wrong into the command's end.
func fetched(failures, outages []error) error {
	if len(failures) == 0 && len(outages) > 0 {
		failures = []error{fmt.Errorf("%w; what was at hand is older", outages[0])}
	}
	if len(failures) == 0 {
		return nil
	}
	code := exitRefused
	for _, err := range failures {
		if vm.CodeOf(err) == vm.CodeUnavailable {
			code = exitUnreachable
		}
	}
	return &exitError{code, errors.Join(failures...)}
}

// writeHaul writes a zip, or into a folder.
func writeHaul(to string, entries []store.Entry) error {
	if !strings.HasSuffix(strings.ToLower(to), ".zip") {
		folder, err := store.OpenFolder(to)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := folder.Put(e); err != nil {
				return err
			}
		}
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(to), ".collateral-*.zip")
	if err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	if err = errors.Join(store.WriteZip(file, entries), file.Close()); err == nil {
		err = os.Rename(file.Name(), to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", to, err), os.Remove(file.Name()))
	}
	return nil
}
