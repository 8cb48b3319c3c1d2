package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/keys/recovery"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

func newBackupCommand(s *settings) *cobra.Command {
	return group("backup", "Find out whether a chain could be recovered", newVerifyBackupCommand(s), newOpenBackupCommand(s))
}

// kept is what a chain could be recovered from.
type kept struct {
	chainID string
	rules   committee.RecoveryRules
	groups  []committee.Group
	backed  []committee.Group
	backups []committee.Backup
}

// kept reads it from an export, or asks the node.
func (s *settings) kept(ctx context.Context, export string) (k kept, err error) {
	if export != "" {
		doc, err := cmttypes.GenesisDocFromFile(export)
		if err != nil {
			return k, fmt.Errorf("read the export: %w", err)
		}
		state, err := node.State(doc)
		if err != nil {
			return k, fmt.Errorf("read the export: %w", err)
		}
		c := state.Committee
		k = kept{chainID: doc.ChainID, groups: c.Groups, backed: c.Backed, backups: c.Backups}
		if c.Recovery != nil {
			k.rules = *c.Recovery
		}
		return k, nil
	}
	var status wire.Status
	if err := s.ask(ctx, http.MethodGet, wire.PathStatus, nil, &status); err != nil {
		return k, err
	}
	k.chainID = status.ChainID
	var rules committee.QueryRecoveryResponse
	var epochs committee.QueryEpochsResponse
	if err := errors.Join(s.read(ctx, "recovery", &rules), s.read(ctx, "epochs", &epochs)); err != nil {
		return k, err
	}
	k.rules, k.backed, k.groups = rules.Rules, rules.Backed, epochs.Groups
	for key := []byte(nil); ; {
		path := "backups"
		if key != nil {
			path += "?" + url.Values{"pagination.key": {base64.StdEncoding.EncodeToString(key)}}.Encode()
		}
		var page committee.QueryBackupsResponse
		if err := s.read(ctx, path, &page); err != nil {
			return k, err
		}
		k.backups = append(k.backups, page.Backups...)
		if page.Pagination == nil || len(page.Pagination.NextKey) == 0 {
			return k, nil
		}
		key = page.Pagination.NextKey
	}
}

// read asks for something of the committee's.
func (s *settings) read(ctx context.Context, what string, into proto.Message) error {
	var answer json.RawMessage
	if err := s.ask(ctx, http.MethodGet, "/secretvm/committee/v1/"+what, nil, &answer); err != nil {
		return err
	}
	encoding, err := chain.NewEncoding()
	if err != nil {
		return err
	}
	return encoding.Codec.UnmarshalJSON(answer, into)
}

// state is what is backed up of one epoch.
type state struct {
	Epoch       uint64   `json:"epoch"`
	Recoverable bool     `json:"recoverable"`
	Current     bool     `json:"current"` // of the shares that are in use
	Backups     []uint32 `json:"backups"` // of these nodes
	Needed      int      `json:"needed"`
	Members     int      `json:"members"` // of the recovery committee, of whom …
	Threshold   int      `json:"threshold"`
	Reason      string   `json:"reason,omitempty"`
}

// states checks every backup, and says of each open epoch whether enough are
// there.
func (k kept) states() ([]state, error) {
	sharings, err := committee.Sharings(k.chainID, k.backed, k.backups)
	if err != nil {
		return nil, vm.Refuse(vm.CodeSignature, "a backup is wrong: %v", err).Try("ask another node: the chain refuses such a backup")
	}
	var out []state
	for _, g := range k.groups {
		st := state{Epoch: g.Epoch, Needed: g.Threshold()}
		at := slices.IndexFunc(sharings, func(x committee.Sharing) bool { return x.Group.Epoch == g.Epoch })
		switch {
		case at < 0 && g.Recovery == nil:
			st.Reason = "nobody keeps backups of it"
		case at < 0:
			st.Reason = "its nodes have not backed up enough shares"
		case sharings[at].Group.Key() != g.Key():
			st.Reason = "the backups are of another key"
		default:
			x := sharings[at]
			st.Needed, st.Current = x.Group.Threshold(), x.Group.Round == g.Round
			st.Threshold, st.Members = int(x.Group.Recovery.Threshold), len(x.Group.Recovery.Recipients)
			for _, b := range x.Backups {
				st.Backups = append(st.Backups, b.Node)
			}
			if st.Recoverable = len(st.Backups) >= st.Needed; !st.Recoverable {
				st.Reason = "backups are missing"
			}
		}
		out = append(out, st)
	}
	return out, nil
}

func newVerifyBackupCommand(s *settings) *cobra.Command {
	var export string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that the ledger holds enough right backups of every key",
		Long: `verify reads the shares that nodes have backed up, checks of each that it is of
whom, of which sharing and for whom it should be, and made by the share's holder, and
says whether every open epoch has enough. Exit code 1 says that one has not. Whether the
sealed pieces are right, only their owners see: kmsd backup open.`,
		Example: "  kmsd backup verify\n  kmsd backup verify --export export.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := s.kept(c.Context(), export)
			if err != nil {
				return err
			}
			states, err := k.states()
			if err != nil {
				return err
			}
			var lines, lost []string
			for _, st := range states {
				if !st.Recoverable {
					lost = append(lost, fmt.Sprintf("epoch %d: %s", st.Epoch, st.Reason))
					continue
				}
				of := "the shares in use"
				if !st.Current {
					of = "the shares of before; nodes are backing up the new ones"
				}
				lines = append(lines, fmt.Sprintf("epoch %d    backups of nodes %v, %d needed, of %s; %d of %d members recover it", st.Epoch, st.Backups, st.Needed, of, st.Threshold, st.Members))
			}
			if len(states) == 0 {
				lost = append(lost, "the chain has no key yet")
			}
			if k.rules.NextAt != 0 {
				lines = append(lines, "another recovery committee is announced: kmsd query committee recovery")
			}
			if len(lost) != 0 {
				return vm.Refuse(vm.CodeInvalid, "the chain could not be recovered: %s", strings.Join(lost, "; ")).
					Try("name people who keep backups: kmsd tx committee set-recovery --help")
			}
			return s.print(c, states, lines...)
		},
	}
	c.Flags().StringVar(&export, "export", "", "check the backups in an export, instead of asking a node")
	return c
}

// opened is what a member found in one backup.
type opened struct {
	Epoch  uint64   `json:"epoch"`
	Round  uint64   `json:"round"`
	Node   uint32   `json:"node"`
	Pieces []uint32 `json:"pieces"` // the member's numbers
	Wrong  string   `json:"wrong,omitempty"`
}

func newOpenBackupCommand(s *settings) *cobra.Command {
	var export, identity string
	c := &cobra.Command{
		Use:   "open",
		Short: "Check that your pieces open, as a member of the recovery committee",
		Long: `open opens your piece of every backup, compares it with what the backup commits
to, forgets it, and says which are right. It prints no secret and asks the node
nothing that says who you are. Exit code 1 says that a piece is wrong, or none is yours.`,
		Example: "  kmsd backup open --identity age.key\n  kmsd backup open --identity age.key --export export.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			identities, err := readIdentities(identity)
			if err != nil {
				return err
			}
			k, err := s.kept(c.Context(), export)
			if err != nil {
				return err
			}
			if _, err := k.states(); err != nil {
				return err
			}
			var found []opened
			var lines, wrong []string
			for _, encoded := range k.backups {
				b, err := recovery.ParseBackup(encoded.Backup)
				if err != nil {
					return err
				}
				o := opened{Epoch: b.Epoch, Round: b.Round, Node: b.Node}
				pieces, err := b.Open(identities...)
				for i := range pieces {
					o.Pieces = append(o.Pieces, pieces[i].Number())
					pieces[i].Wipe()
				}
				if err != nil && !errors.Is(err, recovery.ErrNotYours) {
					o.Wrong = err.Error()
					wrong = append(wrong, o.Wrong)
				}
				if len(o.Pieces) != 0 || o.Wrong != "" {
					found = append(found, o)
					lines = append(lines, fmt.Sprintf("node %d, round %d, epoch %d: pieces %v open and are right", o.Node, o.Round, o.Epoch, o.Pieces))
				}
			}
			if len(wrong) != 0 {
				return vm.Refuse(vm.CodeInvalid, "%s", strings.Join(wrong, "; ")).Try("tell the chain's authority which node that is, and recover without its backup")
			}
			if len(found) == 0 {
				return vm.Refuse(vm.CodePermission, "none of %d backups has a piece for this identity", len(k.backups)).
					Try("kmsd query committee recovery shows whose recipients the chain names")
			}
			return s.print(c, found, lines...)
		},
	}
	c.Flags().StringVar(&identity, "identity", "", "file of your age identity, as age-keygen writes it")
	c.Flags().StringVar(&export, "export", "", "open the backups in an export, instead of asking a node")
	return c
}
