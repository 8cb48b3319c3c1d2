package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// serviceChoice are the flags of every service command.
type serviceChoice struct {
	owner owner
	json  bool
}

func newServiceCommand() *cobra.Command {
	var s serviceChoice
	c := &cobra.Command{
		Use:   "service",
		Short: "Own a service: its images, policy, secrets and log",
		Long: `service changes and reads what a key manager knows of a service: which images may
have its keys, what is demanded of machines, and what is sealed for them.

SERVICE is an id, <owner>/<name>, or a bare name for a service of the council, the
signer, or the owner of --home. Changes are signed by kmsd, which holds the
owner's key; this program never reads it.

Where several people own a service, --unsigned writes the transaction of a
multisig account, which they sign with kmsd tx sign; with --council a member
proposes the change, and it is made when enough others approve.`,
	}
	flags := c.PersistentFlags()
	flags.StringVar(&s.owner.kmsd, "kmsd", "", "`PATH` of the KMS program (default: beside this program, then $PATH)")
	flags.StringVar(&s.owner.home, "home", "", "`FOLDER` of the owner's kmsd (default: kmsd's own)")
	flags.StringVar(&s.owner.node, "kms", "", "`URL` of the node to ask (default: the one that runs in --home)")
	flags.StringSliceVar(&s.owner.groupKeys, "group-key", nil, "the key manager's group `KEY`, of each epoch that is to be used; needed with --kms unless a node of the chain runs in --home")
	flags.StringVar(&s.owner.from, "from", "", "account `FILE` of who signs (default: the owner of --home)")
	flags.StringVar(&s.owner.council, "council", "", "`ADDRESS` of the council that owns the service: propose the change to it")
	flags.StringVar(&s.owner.unsigned, "unsigned", "", "write the transaction to `FILE`, to be signed elsewhere, and send nothing")
	flags.BoolVar(&s.json, "json", false, "print JSON")
	c.AddCommand(newServiceCreateCommand(&s), newServiceShowCommand(&s), newServiceLogCommand(&s), newServiceImageCommand(&s),
		newServicePolicyCommand(&s), newServiceEnvCommand(&s), newServiceRegistryCommand(&s), newServiceFreezeCommand(&s), newServiceTransferCommand(&s),
		newServiceRollbackCommand(&s))
	return c
}

func newServiceCreateCommand(s *serviceChoice) *cobra.Command {
	var delay time.Duration
	c := &cobra.Command{
		Use: "create NAME", Short: "Register a service", Args: usageArgs(cobra.ExactArgs(1)),
		Example: "  secretvm service create guestbook --upgrade-delay 48h",
		RunE: func(c *cobra.Command, args []string) error {
			if delay < 0 || delay%time.Second != 0 {
				return &exitError{exitUsage, errors.New("--upgrade-delay: want whole seconds")}
			}
			args = []string{"tx", "kms", "create-service", args[0]}
			if delay > 0 {
				args = append(args, "--policy", fmt.Sprintf(`{"upgrade_delay": %d}`, int64(delay/time.Second)))
			}
			var made struct {
				Service string `json:"service"`
				Height  int64  `json:"height"`
			}
			if later, err := s.send(c, &made, args...); later || err != nil {
				return err
			}
			return s.say(c, made, "service %s registered in block %d", made.Service, made.Height)
		},
	}
	c.Flags().DurationVar(&delay, "upgrade-delay", 0, "what gives machines something new waits so long on the ledger")
	return c
}

func newServiceFreezeCommand(s *serviceChoice) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "freeze SERVICE", Short: "Let nothing new reach the service's machines any more, for good", Long: freezeText, Args: usageArgs(cobra.ExactArgs(1)),
		Example: "  secretvm service freeze guestbook",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.owner.service(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(c, yes, "Freeze "+id+"?\n"+freezeText); err != nil {
				return err
			}
			return s.change(c, "frozen", "freeze", "--service", id)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

const freezeText = `Frozen, a service gets no other image, no looser policy and no other environment
(env set is refused from then on), whoever owns it. Images can still be revoked,
the policy made stricter, registry credentials renewed and the service given away.
Nobody can undo it.`

// change sends a transaction of x/kms and says that it was done.
func (s *serviceChoice) change(c *cobra.Command, what string, args ...string) error {
	var done struct {
		Tx     string         `json:"tx"`
		Height int64          `json:"height"`
		Answer map[string]any `json:"answer"`
	}
	if later, err := s.send(c, &done, append([]string{"tx", "kms"}, args...)...); later || err != nil {
		return err
	}
	return s.say(c, done, "%s in block %d", what, done.Height)
}

// send has kmsd send a transaction, and decodes its answer into result. Where
// nothing is done before others have signed or approved, it says so, and later is
// true.
func (s *serviceChoice) send(c *cobra.Command, result any, args ...string) (later bool, err error) {
	if s.owner.unsigned == "" && s.owner.council == "" {
		return false, s.owner.run(c.Context(), result, args...)
	}
	var sent struct {
		Unsigned string `json:"unsigned,omitempty"`
		Tx       string `json:"tx,omitempty"`
		Height   int64  `json:"height,omitempty"`
		Answer   struct {
			Proposal string `json:"proposal"`
			Status   string `json:"status"`
		} `json:"answer,omitzero"`
	}
	switch err := s.owner.run(c.Context(), &sent, args...); {
	case err != nil:
		return true, err
	case s.owner.unsigned != "":
		return true, s.say(c, sent, "written to %s, and nothing is changed yet: kmsd tx sign, kmsd tx combine, kmsd tx broadcast", sent.Unsigned)
	case sent.Answer.Status != "STATUS_OPEN":
		return true, s.say(c, sent, "proposal %s in block %d: %s", sent.Answer.Proposal, sent.Height, strings.ToLower(strings.TrimPrefix(sent.Answer.Status, "STATUS_")))
	}
	return true, s.say(c, sent, "proposal %s in block %d: it is done when enough members say kmsd tx council approve --proposal %[1]s", sent.Answer.Proposal, sent.Height)
}

// say prints a result: v with --json, else a line.
func (s *serviceChoice) say(c *cobra.Command, v any, format string, args ...any) error {
	if s.json {
		return printJSON(c.OutOrStdout(), v)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), format+"\n", args...)
	return err
}

// confirm asks on stderr unless yes is set; anything but "yes" is no.
func confirm(c *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s [yes/no] ", question)
	var answer string
	if _, err := fmt.Fscanln(c.InOrStdin(), &answer); err != nil || answer != "yes" {
		return errors.New("nothing was changed (answer yes, or give --yes)")
	}
	return nil
}

// withID is a command's work once the service is known.
func (s *serviceChoice) withID(f func(ctx context.Context, c *cobra.Command, id string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		id, err := s.owner.service(c.Context(), args[0])
		if err != nil {
			return err
		}
		return f(c.Context(), c, id)
	}
}
