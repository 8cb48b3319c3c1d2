package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

func newAdmitCommand(s *settings) *cobra.Command {
	var operator, api, peer string
	var replaces uint32
	c := &cobra.Command{
		Use:   "admit URL",
		Short: "Bring a node that proves what it runs",
		Long: `admit asks the node at URL, which runs in a machine of this system, to prove what
it runs, and sends the proof to the chain in a MsgJoin. The chain judges it like a
machine's release, by the images of the service that the parameter node_service
names. The next round gives the node a share.

--operator is the account that will run the node: by default the sender, who is the
chain's authority or one of its operators. --api and --peer are where others reach
the node; they are hints, and can be changed later (kmsd tx committee address).`,
		Example: `  kmsd tx committee admit https://node2.example --peer node2.example:29381
  kmsd tx committee admit http://127.0.0.1:29400 --peer 127.0.0.1:29401 --home kms/node1`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := s.signer()
			if err != nil {
				return err
			}
			if operator == "" {
				operator = from.Address
			}
			if api == "" {
				api = args[0]
			}
			ctx, cancel := context.WithTimeout(c.Context(), askTimeout)
			defer cancel()
			var a wire.Admission
			if err := wire.Call(ctx, http.DefaultClient, http.MethodPost, args[0], wire.PathAdmission, wire.AdmissionRequest{Operator: operator}, &a); err != nil {
				return err
			}
			if a.Operator != operator {
				return vm.Refuse(vm.CodeReportData, "the node's proof is for another operator").On("operator", a.Operator, operator)
			}
			msg, err := node.JoinOf(a, from.Address)
			if err != nil {
				return err
			}
			msg.Api, msg.Replaces = api, replaces
			if peer != "" {
				msg.Peer = a.PeerID + "@" + peer
			}
			return s.act(c, msg, &types.MsgJoinResponse{})
		},
	}
	c.Flags().StringVar(&operator, "operator", "", "account that runs the node (default: the sender)")
	c.Flags().StringVar(&api, "api", "", "URL at which machines reach the node (default: URL)")
	c.Flags().StringVar(&peer, "peer", "", "host:port at which other nodes connect to it; empty: it connects to them")
	c.Flags().Uint32Var(&replaces, "replaces", 0, "index of the node whose place it takes; 0: none")
	return c
}
