package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/wire"
)

func newServicePolicyCommand(s *serviceChoice) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "What the service demands of machines"}
	c.AddCommand(&cobra.Command{
		Use: "show SERVICE", Short: "Show the policy, and one that was announced", Args: usageArgs(cobra.ExactArgs(1)),
		Example: "  secretvm service policy show guestbook",
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			if s.json {
				return printJSON(c.OutOrStdout(), map[string]any{"policy": service.Policy, "pending_policy": service.PendingPolicy})
			}
			writePolicies(c.OutOrStdout(), service)
			return nil
		}),
	}, newServicePolicySetCommand(s))
	return c
}

func newServicePolicySetCommand(s *serviceChoice) *cobra.Command {
	var delay, grace, age, stale time.Duration
	var statuses, advisories, hardware []string
	var evaluation uint64
	c := &cobra.Command{
		Use: "set SERVICE", Short: "Change the policy: at once what is stricter, after the upgrade delay what is looser",
		Long: `set changes what its flags name and leaves the rest as it is (as it was announced,
if a policy is pending). An empty value ends a list: --tcb-status "" accepts
nothing beside UpToDate; --hardware any accepts every processor.`,
		Example: "  secretvm service policy set guestbook --upgrade-delay 72h --tcb-status SWHardeningNeeded",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			p := service.Policy
			if service.PendingPolicy != nil {
				p = service.PendingPolicy.Policy
			}
			changed := c.Flags().Changed
			for _, d := range []struct {
				flag  string
				value time.Duration
				to    *uint64
			}{{"upgrade-delay", delay, &p.UpgradeDelay}, {"grace", grace, &p.Grace}, {"max-evidence-age", age, &p.MaxEvidenceAge}, {"stale-collateral", stale, &p.StaleCollateral}} {
				if d.value < 0 || d.value%time.Second != 0 {
					return &exitError{exitUsage, fmt.Errorf("--%s: want whole seconds", d.flag)}
				}
				if changed(d.flag) {
					*d.to = uint64(d.value / time.Second)
				}
			}
			if changed("tcb-status") {
				p.TCBStatuses = filled(statuses)
			}
			if changed("advisory") {
				p.Advisories = filled(advisories)
			}
			if changed("min-evaluation") {
				p.MinEvaluation = evaluation
			}
			if changed("hardware") {
				if p.Hardware = nil; len(hardware) != 1 || hardware[0] != "any" {
					ids := filled(hardware)
					p.Hardware = &ids
				}
			}
			text, err := messageOf(p)
			if err != nil {
				return err
			}
			return s.change(c, "policy set", "set-policy", "--service", id, "--policy", text)
		}),
	}
	f := c.Flags()
	f.DurationVar(&delay, "upgrade-delay", 0, "what gives machines something new waits so long")
	f.DurationVar(&grace, "grace", 0, "so long after a weakness became public a platform may be out of date")
	f.DurationVar(&age, "max-evidence-age", 0, "evidence names a block that is at most so old; 0: what the chain says")
	f.DurationVar(&stale, "stale-collateral", 0, "collateral is accepted so long after its nextUpdate")
	f.Uint64Var(&evaluation, "min-evaluation", 0, "least tcbEvaluationDataNumber of Intel's collateral; 0: any")
	f.StringSliceVar(&statuses, "tcb-status", nil, "accept this TCB status beside UpToDate (repeatable)")
	f.StringSliceVar(&advisories, "advisory", nil, "accept this known weakness, such as INTEL-SA-00837 (repeatable)")
	f.StringSliceVar(&hardware, "hardware", nil, "accept only this processor id (repeatable), or any")
	return c
}

func filled(texts []string) []string {
	out := []string{}
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// messageOf writes a policy as the chain's message has it.
func messageOf(p wire.Policy) (string, error) {
	hardware := p.Hardware
	p.Hardware = nil
	b, err := json.Marshal(p)
	if err != nil || hardware == nil {
		return string(b), err
	}
	ids, err := json.Marshal(map[string]any{"ids": *hardware})
	if err != nil || len(b) < 3 {
		return "", errors.Join(err, errors.New("encode policy"))
	}
	return string(b[:len(b)-1]) + `,"hardware":` + string(ids) + "}", nil
}

func writePolicies(out io.Writer, s wire.Service) {
	writePolicy(out, "policy", s.Policy)
	if p := s.PendingPolicy; p != nil {
		writePolicy(out, "policy from "+clock(p.ActiveAt), p.Policy)
	}
}

func writePolicy(out io.Writer, title string, p wire.Policy) {
	hardware := "any processor"
	if p.Hardware != nil {
		hardware = fmt.Sprintf("%d processors: %s", len(*p.Hardware), strings.Join(*p.Hardware, " "))
	}
	evaluation, age := "any", "what the chain allows"
	if p.MinEvaluation > 0 {
		evaluation = fmt.Sprint(p.MinEvaluation)
	}
	if p.MaxEvidenceAge > 0 {
		age = span(p.MaxEvidenceAge)
	}
	fmt.Fprintln(out, title)
	for _, row := range [][2]string{
		{"upgrade delay", span(p.UpgradeDelay)},
		{"TCB statuses", strings.Join(append([]string{"UpToDate"}, p.TCBStatuses...), " ")},
		{"grace", span(p.Grace)},
		{"advisories", cmp.Or(strings.Join(p.Advisories, " "), "none is accepted")},
		{"hardware", hardware},
		{"min evaluation", evaluation},
		{"max evidence age", age},
		{"stale collateral", span(p.StaleCollateral)},
	} {
		fmt.Fprintf(out, "  %-16s  %s\n", row[0], row[1])
	}
}

// span writes seconds as people do: "48h0m0s", or "none".
func span(seconds uint64) string {
	const most = 1 << 32
	switch {
	case seconds == 0:
		return "none"
	case seconds > most:
		return fmt.Sprintf("%d s", seconds)
	}
	return (time.Duration(seconds) * time.Second).String()
}

// clock writes a time for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
