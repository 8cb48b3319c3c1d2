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
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
)

func newTxCommand(s *settings) *cobra.Command {
	c := group("tx", "Send a transaction, as the local owner or another account",
		s.moduleTx("kms", "Services, their images, policies and secrets", newCreateServiceCommand(s), newAddImageCommand(s)),
		s.moduleTx("council", "Accounts, and owners that are m of n people"),
		s.moduleTx("committee", "The nodes, and the epochs of their key", newAdmitCommand(s)),
		newUpgradeCommand(s), newSignCommand(s), newCombineCommand(s), newBroadcastCommand(s))
	c.PersistentFlags().StringVar(&s.from, "from", "", "account file of the signer (default: the owner of --home); with --unsigned it may be a public one")
	c.PersistentFlags().StringVar(&s.unsigned, "unsigned", "", "write the transaction to this file, to be signed elsewhere, and send nothing")
	c.PersistentFlags().StringVar(&s.council, "council", "", "propose the message to this council, as a member, instead of sending it as the signer")
	return c
}

// signer is the account that a transaction is of.
func (s *settings) signer() (signer.Public, error) {
	if s.from != "" {
		return signer.LoadPublic(s.from)
	}
	owner, err := s.folder().Owner()
	if err != nil {
		return signer.Public{}, err
	}
	return owner.Public(), nil
}

// account is the one that signs here.
func (s *settings) account() (signer.Account, error) {
	if s.from != "" {
		return signer.Load(s.from)
	}
	return s.folder().Owner()
}

// sent is what a transaction did.
type sent struct {
	Service string  `json:"service"`
	Image   *uint64 `json:"image,omitempty"`
	Tx      string  `json:"tx"`
	Height  int64   `json:"height"`
}

func newCreateServiceCommand(s *settings) *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use:   "create-service NAME",
		Short: "Register a service under the local owner's address",
		Long: `create-service registers <owner>/NAME. Nobody else can register it, and it is
never replaced: a second time is refused with the code "exists".`,
		Example: "  kmsd tx kms create-service web --json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			owner, err := s.actor()
			if err != nil {
				return err
			}
			var answer types.MsgCreateServiceResponse
			msg := &types.MsgCreateService{Owner: owner, Name: args[0]}
			if policy != "" {
				if msg.Policy, err = readPolicy(policy); err != nil {
					return err
				}
			}
			if s.later() {
				return s.act(c, msg, &answer)
			}
			result, err := s.send(c.Context(), msg, &answer)
			if err != nil {
				return err
			}
			return s.print(c, sent{Service: answer.Service, Tx: result.Hash, Height: result.Height},
				fmt.Sprintf("service %s registered in block %d", answer.Service, result.Height))
		},
	}
	c.Flags().StringVar(&policy, "policy", "", "JSON of Policy, from the beginning on (default: what set-policy calls strictest, without upgrade delay)")
	return c
}

func newAddImageCommand(s *settings) *cobra.Command {
	var file, record string
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
machine, and rtmr3 may be left out: it follows.

RECORD is what secretvm measure --all-shapes --config prints: with it machines of
every shape that it lists are served. More platforms than one image can have become
several images, of which each is printed.`,
		Example: `  kmsd tx kms add-image web --image image.json --json
  kmsd tx kms add-image web --record record.json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if (file == "") == (record == "") {
				return usageError{fmt.Errorf("--image FILE or --record FILE is needed (see %s --help)", c.CommandPath())}
			}
			read, path := readImage, file
			if record != "" {
				read, path = readRecord, record
			}
			msgs, err := read(path)
			if err != nil {
				return err
			}
			return s.addImages(c, args[0], msgs)
		},
	}
	c.Flags().StringVar(&file, "image", "", "JSON file of the registers")
	c.Flags().StringVar(&record, "record", "", "record of secretvm measure --all-shapes")
	return c
}

// addImages sends what add-image has read, one after the other.
func (s *settings) addImages(c *cobra.Command, name string, msgs []*types.MsgAddImage) error {
	service, err := s.service(name)
	if err != nil {
		return err
	}
	owner, err := s.actor()
	if err != nil {
		return err
	}
	if s.unsigned != "" && len(msgs) > 1 {
		return usageError{fmt.Errorf("%d images do not fit into one file: --unsigned takes one transaction", len(msgs))}
	}
	for _, msg := range msgs {
		msg.Owner, msg.Service = owner, service
		if s.later() {
			if err := s.act(c, msg, &types.MsgAddImageResponse{}); err != nil {
				return err
			}
			continue
		}
		var answer types.MsgAddImageResponse
		result, err := s.send(c.Context(), msg, &answer)
		if err != nil {
			return err
		}
		err = s.print(c, sent{Service: service, Image: &answer.Image, Tx: result.Hash, Height: result.Height},
			fmt.Sprintf("image %d of service %s registered in block %d", answer.Image, service, result.Height))
		if err != nil {
			return err
		}
	}
	return nil
}

// send signs a message here and waits for its block.
func (s *settings) send(ctx context.Context, msg sdk.Msg, into proto.Message) (wire.TxResult, error) {
	var result wire.TxResult
	owner, err := s.account()
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
	tx, err := owner.Sign(ctx, encoding, account, gas(msg), msg)
	if err != nil {
		return result, err
	}
	if err := s.ask(ctx, http.MethodPost, wire.PathTx, wire.Tx{Tx: tx}, &result); err != nil {
		return result, err
	}
	return result, chain.Response(result.Data, into)
}
