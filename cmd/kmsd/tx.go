package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/cosmos/gogoproto/proto"
	"github.com/spf13/cobra"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
)

// ownerGas is the gas of an owner's transaction.
const ownerGas = 10_000_000

func newTxCommand(s *settings) *cobra.Command {
	return group("tx", "Send a transaction as the local owner",
		group("kms", "Services and images", newCreateServiceCommand(s), newAddImageCommand(s)))
}

// sent is what a transaction did.
type sent struct {
	Service string  `json:"service"`
	Image   *uint64 `json:"image,omitempty"`
	Tx      string  `json:"tx"`
	Height  int64   `json:"height"`
}

func newCreateServiceCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "create-service NAME",
		Short: "Register a service under the local owner's address",
		Long: `create-service registers <owner>/NAME. Nobody else can register it, and it is
never replaced: a second time is refused with the code "exists".`,
		Example: "  kmsd tx kms create-service web --json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			owner, err := s.folder().Owner()
			if err != nil {
				return err
			}
			var answer types.MsgCreateServiceResponse
			result, err := s.send(c.Context(), &types.MsgCreateService{Owner: owner.Address, Name: args[0]}, &answer)
			if err != nil {
				return err
			}
			return s.print(c, sent{Service: answer.Service, Tx: result.Hash, Height: result.Height},
				fmt.Sprintf("service %s registered in block %d", answer.Service, result.Height))
		},
	}
}

func newAddImageCommand(s *settings) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "add-image SERVICE",
		Short: "Let machines with these registers have the service's keys",
		Long: `add-image registers one set of identity registers, every one in full. SERVICE is
an id, or a bare name for one of the local owner's. FILE is JSON:

  {"mrtd": "…", "rtmr0": "…", "rtmr1": "…", "rtmr2": "…", "rtmr3": "…",
   "description": "…", "root_hash": "…", "template": {…}}

Registers are 96 hex digits. rtmr3 is that of the template config (instance id
all zeros). root_hash, the dm-verity root hash, and template, that config, are
optional together; with them the chain can say what differs when it refuses a
machine, and rtmr3 may be left out: it follows.`,
		Example: "  kmsd tx kms add-image web --image image.json --json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				return usageError{fmt.Errorf("--image FILE is needed (see %s --help)", c.CommandPath())}
			}
			msg, err := readImage(file)
			if err != nil {
				return err
			}
			if msg.Service, err = s.service(args[0]); err != nil {
				return err
			}
			owner, err := s.folder().Owner()
			if err != nil {
				return err
			}
			msg.Owner = owner.Address
			var answer types.MsgAddImageResponse
			result, err := s.send(c.Context(), msg, &answer)
			if err != nil {
				return err
			}
			return s.print(c, sent{Service: msg.Service, Image: &answer.Image, Tx: result.Hash, Height: result.Height},
				fmt.Sprintf("image %d of service %s registered in block %d", answer.Image, msg.Service, result.Height))
		},
	}
	c.Flags().StringVar(&file, "image", "", "JSON file of the registers")
	return c
}

// send signs a message as the local owner and waits for its block.
func (s *settings) send(ctx context.Context, msg sdk.Msg, into proto.Message) (wire.TxResult, error) {
	var result wire.TxResult
	owner, err := s.folder().Owner()
	if err != nil {
		return result, err
	}
	encoding, err := chain.NewEncoding()
	if err != nil {
		return result, err
	}
	var account wire.Account
	if err := s.ask(ctx, http.MethodGet, wire.PathAccounts+"/"+owner.Address, nil, &account); err != nil {
		return result, err
	}
	tx, err := owner.Sign(ctx, encoding, account, ownerGas, msg)
	if err != nil {
		return result, err
	}
	if err := s.ask(ctx, http.MethodPost, wire.PathTx, wire.Tx{Tx: tx}, &result); err != nil {
		return result, err
	}
	return result, chain.Response(result.Data, into)
}
