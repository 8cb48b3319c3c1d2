package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/wire"
)

func newQueryCommand(s *settings) *cobra.Command {
	return group("query", "Read the ledger", s.moduleQuery("kms", "Services, grants and refusals",
		s.newQuery("services", "List all services", cobra.NoArgs, func([]string) (string, error) { return wire.PathServices, nil }),
		s.provable("kms service", "service", s.newQuery("service SERVICE", "Show a service and its images", cobra.ExactArgs(1), s.below(""))),
		s.newQuery("log SERVICE", "Show the newest grants and refusals of a service", cobra.ExactArgs(1), s.below("/log")),
		s.provable("kms grant", "id", s.newQuery("grant ID", "Show a grant", cobra.ExactArgs(1), func(args []string) (string, error) { return wire.PathGrants + "/" + args[0], nil })),
		s.provable("kms params", "", s.newQuery("params", "Show whose evidence the chain accepts, and for how long", cobra.NoArgs, func([]string) (string, error) { return wire.PathParams, nil })),
	), s.moduleQuery("council", "Councils and their proposals"), s.moduleQuery("committee", "Nodes, epochs and rounds"), newProveCommand(s))
}

// below is the path of something of a service.
func (s *settings) below(suffix string) func([]string) (string, error) {
	return func(args []string) (string, error) {
		id, err := s.service(args[0])
		return wire.PathServices + "/" + id + suffix, err
	}
}

// provable lets a query that is about one entry prove it. The field is what its
// argument is.
func (s *settings) provable(name, field string, c *cobra.Command) *cobra.Command {
	var t trust
	t.flags(c)
	answer := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if !t.prove {
			return answer(c, args)
		}
		given := ""
		if len(args) > 0 {
			given = args[0]
		}
		return s.proveQuery(c, &t, name, map[string]any{field: given})
	}
	return c
}

// newQuery makes a command that prints the node's answer as JSON.
func (s *settings) newQuery(use, short string, check cobra.PositionalArgs, path func([]string) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: "  kmsd query kms " + use + " --json", Args: usageArgs(check),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := path(args)
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := s.ask(c.Context(), http.MethodGet, p, nil, &answer); err != nil {
				return err
			}
			return s.print(c, answer)
		},
	}
}
