package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
)

func newKeysCommand(s *settings) *cobra.Command {
	var threshold int
	create := &cobra.Command{
		Use: "create FILE", Short: "Draw the key of a new account; it is not encrypted", Example: "  kmsd keys create alice.json",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := signer.New()
			if err != nil {
				return err
			}
			if err := a.Save(args[0]); err != nil {
				return err
			}
			return s.print(c, a.Public(), a.Address)
		},
	}
	show := &cobra.Command{
		Use: "show FILE", Short: "Print an account without its secret", Example: "  kmsd keys show alice.json --json > alice.public.json",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := signer.LoadPublic(args[0])
			if err != nil {
				return err
			}
			return s.print(c, p)
		},
	}
	many := &cobra.Command{
		Use: "multisig FILE…", Short: "Print the account for which some of several keys sign",
		Example: "  kmsd keys multisig --threshold 2 alice.public.json bob.public.json carol.public.json --json > owners.json",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var keys []string
			for _, path := range args {
				p, err := signer.LoadPublic(path)
				if err != nil {
					return err
				}
				if len(p.Keys) != 1 {
					return usageError{fmt.Errorf("%s is an account of several keys", path)}
				}
				keys = append(keys, p.Keys[0])
			}
			p, err := signer.NewMultisig(threshold, keys)
			if err != nil {
				return usageError{err}
			}
			return s.print(c, p)
		},
	}
	many.Flags().IntVar(&threshold, "threshold", 1, "how many of the keys sign")
	return group("keys", "Accounts: keys in files, and several keys together", create, show, many)
}

// writeUnsigned writes a transaction that is to be signed elsewhere.
func (s *settings) writeUnsigned(c *cobra.Command, msg sdk.Msg) error {
	from, err := s.signer()
	if err != nil {
		return err
	}
	encoding, err := chain.NewEncoding()
	if err != nil {
		return err
	}
	var at wire.Account
	if err := s.ask(c.Context(), http.MethodGet, wire.PathAccounts+"/"+from.Address, nil, &at); err != nil {
		return err
	}
	u, err := signer.Prepare(encoding, from, at, gas(msg), msg)
	if err != nil {
		return err
	}
	if err := writeJSON(s.unsigned, u); err != nil {
		return err
	}
	return s.print(c, map[string]string{"unsigned": s.unsigned}, "written to "+s.unsigned+"; sign it with kmsd tx sign")
}

func newSignCommand(s *settings) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "sign FILE", Short: "Sign a transaction that was written with --unsigned; needs no node",
		Example: "  kmsd tx sign tx.json --from alice.json --out alice.sig.json", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var u signer.Unsigned
			if err := readJSON(args[0], &u); err != nil {
				return err
			}
			account, err := s.account()
			if err != nil {
				return err
			}
			encoding, err := chain.NewEncoding()
			if err != nil {
				return err
			}
			for _, m := range u.Messages {
				fmt.Fprintf(c.ErrOrStderr(), "signing for %s on %s: %s\n", u.Signer.Address, u.ChainID, m)
			}
			signature, err := account.SignApart(c.Context(), encoding, u)
			if err != nil {
				return err
			}
			if out == "" {
				return s.print(c, signature)
			}
			return writeJSON(out, signature)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write the signature to (default: print it)")
	return c
}

func newCombineCommand(s *settings) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "combine FILE SIGNATURE…", Short: "Put enough signatures into a transaction; needs no node",
		Example: "  kmsd tx combine tx.json alice.sig.json bob.sig.json --out signed.json", Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			var u signer.Unsigned
			if err := readJSON(args[0], &u); err != nil {
				return err
			}
			signatures := make([]signer.Signature, len(args)-1)
			for i, path := range args[1:] {
				if err := readJSON(path, &signatures[i]); err != nil {
					return err
				}
			}
			encoding, err := chain.NewEncoding()
			if err != nil {
				return err
			}
			tx, err := signer.Combine(c.Context(), encoding, u, signatures)
			if err != nil {
				return err
			}
			if out == "" {
				return s.print(c, wire.Tx{Tx: tx})
			}
			return writeJSON(out, wire.Tx{Tx: tx})
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write the transaction to (default: print it)")
	return c
}

func newBroadcastCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "broadcast FILE", Short: "Send a transaction that was signed before", Example: "  kmsd tx broadcast signed.json", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var tx wire.Tx
			if err := readJSON(args[0], &tx); err != nil {
				return err
			}
			var result wire.TxResult
			if err := s.ask(c.Context(), http.MethodPost, wire.PathTx, tx, &result); err != nil {
				return err
			}
			return s.print(c, result, fmt.Sprintf("done in block %d", result.Height))
		},
	}
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}
