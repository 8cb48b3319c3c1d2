package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/vm"
)

// serviceFlags say where vendors' signed material comes from.
type serviceFlags struct {
	addresses endorsement.Addresses
	archives  []string
	offline   bool
	renew     bool
}

// register adds the flags that verify and collateral share.
func (s *serviceFlags) register(c *cobra.Command) {
	flags := c.Flags()
	s.registerAddresses(c)
	flags.StringArrayVar(&s.archives, "collateral", nil, "look into this `FOLDER or ZIP` of secretvm collateral fetch first (repeatable)")
	flags.BoolVar(&s.renew, "renew", false, "replace collateral that came with the evidence and has expired")
	flags.BoolVar(&s.offline, "offline", false, "ask no vendor: use what the evidence, --collateral and the cache hold")
}

func (s *serviceFlags) registerAddresses(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&s.addresses.Intel, "pccs", nil, "ask this `URL` for Intel's collateral, a PCCS for example (repeatable; "+endorsement.VariablePCCS+")")
	flags.StringArrayVar(&s.addresses.AMD, "kds", nil, "ask this `URL` for AMD's certificates (repeatable; "+endorsement.VariableKDS+")")
	flags.StringArrayVar(&s.addresses.RIM, "rim", nil, "ask this `URL` for NVIDIA's reference manifests (repeatable; "+endorsement.VariableRIM+")")
	flags.StringArrayVar(&s.addresses.OCSP, "ocsp", nil, "ask this `URL` whether NVIDIA has revoked a certificate (repeatable; "+endorsement.VariableOCSP+")")
}

// options reads the flags, the environment and the configuration file. A
// cache that cannot be used is noted; everything works without.
func (s *serviceFlags) options(note func(format string, args ...any)) (o endorsement.Options, err error) {
	usage := func(err error) (endorsement.Options, error) { return o, &exitError{exitUsage, err} }
	file, err := endorsement.ConfigFile()
	if err != nil {
		return usage(err)
	}
	o = endorsement.Options{Offline: s.offline, Renew: s.renew, Note: note}
	if o.Addresses, err = endorsement.FindAddresses(s.addresses, os.Getenv, file); err != nil {
		return usage(err)
	}
	for _, path := range s.archives {
		archive, err := endorsement.Open(path)
		if err != nil {
			return usage(fmt.Errorf("--collateral: %w", err))
		}
		o.Archives = append(o.Archives, archive)
	}
	if o.Cache, err = endorsement.OpenCache(); err != nil {
		note("%v; going on without a cache", err)
	}
	return o, nil
}

// sayMissing says why evidence could not be completed, and what to do. The
// verdict then only says that something is missing.
func sayMissing(out io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(out, "  collateral was not found: %s\n", strings.TrimSpace(line))
	}
	var refusal *vm.Refusal
	if errors.As(err, &refusal) && refusal.Hint != "" {
		fmt.Fprintf(out, "  try: %s\n", refusal.Hint)
	}
}
