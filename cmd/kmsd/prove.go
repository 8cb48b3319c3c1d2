package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/api"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/proof"
	"github.com/secretvm/secretvm/vm"
)

// wanted is an entry of the state that a query is about.
type wanted struct {
	store string
	key   []byte
	into  proto.Message // what the value is; nil: shown as hex
}

// provable says which entry a query's answer is made of, for those that are made
// of one. Fields are those of the request.
var provable = map[string]func(field func(string) string) (wanted, error){
	"kms service": func(f func(string) string) (wanted, error) {
		return wanted{types.StoreKey, types.ServiceKey(f("service")), &types.Service{}}, nil
	},
	"kms image": func(f func(string) string) (wanted, error) {
		n, err := strconv.ParseUint("0"+f("image"), 10, 64)
		return wanted{types.StoreKey, types.ImageKey(f("service"), n), &types.Image{}}, err
	},
	"kms grant": func(f func(string) string) (wanted, error) {
		id, err := vm.ParseHash(f("id"))
		return wanted{types.StoreKey, types.GrantKey(id[:]), &types.Grant{}}, err
	},
	"kms instance": func(f func(string) string) (wanted, error) {
		return wanted{types.StoreKey, types.InstanceKey(f("service"), f("vm_uid")), &types.Instance{}}, nil
	},
	"kms sealed": func(f func(string) string) (wanted, error) {
		return wanted{types.StoreKey, types.SealedKey(f("service"), f("name")), &types.SealedSlot{}}, nil
	},
	"kms params": func(func(string) string) (wanted, error) {
		return wanted{types.StoreKey, []byte{byte(types.PrefixParams)}, &types.Params{}}, nil
	},
	"committee params": func(func(string) string) (wanted, error) {
		return wanted{committee.StoreKey, []byte{0}, &committee.Params{}}, nil
	},
}

// proven is an entry of the state, and what shows that it is one.
type proven struct {
	Entry   json.RawMessage `json:"entry"`  // null: there is none
	Height  int64           `json:"height"` // of the block after which the state is so
	Header  proof.Header    `json:"header"` // of the next block, which signs it
	Time    time.Time       `json:"time"`   // of that block
	Signed  int             `json:"signed"`
	Of      int             `json:"of"` // validators
	ChainID string          `json:"chain_id"`
	From    string          `json:"from"` // what trust begins with
}

// trust are the flags that say what a proof begins with.
type trust struct {
	prove           bool
	genesis, header string
}

func (t *trust) flags(c *cobra.Command) {
	c.Flags().BoolVar(&t.prove, "prove", false, "believe nothing of the answer: check it against what the validators signed, all the way from genesis")
	c.Flags().StringVar(&t.genesis, "genesis", "", "the chain's genesis file, from somebody you trust (default: that of --home)")
	c.Flags().StringVar(&t.header, "trusted-header", "", "HEIGHT:HASH of a block that you trust, to begin from instead of the first")
}

// chain is what headers are checked against.
func (t *trust) chain(s *settings) (proof.Chain, string, error) {
	var c proof.Chain
	path := t.genesis
	if path == "" {
		path = filepath.Join(s.home, "config", "genesis.json")
	}
	doc, err := cmttypes.GenesisDocFromFile(path)
	if err != nil {
		return c, "", vm.Refuse(vm.CodeInvalid, "read the genesis that a proof begins with: %.200v", err).Try("name it with --genesis FILE")
	}
	c = proof.Chain{Genesis: doc, Now: time.Now(), Fetch: s.lightBlock}
	from := "the validators of " + path
	if c.Trusted, err = parseHeader(t.header); err != nil {
		return c, "", err
	}
	if c.Trusted != nil {
		from = "block " + t.header
	}
	return c, from, nil
}

// parseHeader reads the header that somebody trusts; nil for none.
func parseHeader(text string) (*proof.Header, error) {
	if text == "" {
		return nil, nil
	}
	height, hash, _ := strings.Cut(text, ":")
	var h proof.Header
	var err error
	if h.Height, err = strconv.ParseInt(height, 10, 64); err == nil {
		h.Hash, err = vm.ParseHash(strings.ToLower(hash))
	}
	if err != nil || h.Height < 1 {
		return nil, usageError{fmt.Errorf("--trusted-header is %q, want HEIGHT:HASH", text)}
	}
	return &h, nil
}

// prove asks for an entry and shows it if it is proven, and what was.
func (s *settings) prove(c *cobra.Command, t *trust, w wanted) error {
	held, from, err := t.chain(s)
	if err != nil {
		return err
	}
	header, err := held.Header(c.Context(), 0)
	if err != nil {
		return err
	}
	entry, err := s.entry(c.Context(), w, header.Height-1)
	if err != nil {
		return err
	}
	if err := entry.Verify(header.AppHash); err != nil {
		return err
	}
	out := proven{Entry: json.RawMessage("null"), Height: entry.Height, Header: proof.Header{Height: header.Height, Hash: vm.Hash(header.Hash())}, Time: header.Time, ChainID: header.ChainID, From: from}
	out.Signed, out.Of = proof.Signers(header)
	what := "PROVEN THAT THERE IS NONE"
	if len(entry.Value) != 0 {
		what = "proven"
		if out.Entry, err = show(w, entry.Value); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s: the state of %s after block %d, signed in block %d by %d of %d validators, %s ago; trust begins with %s\n",
		what, out.ChainID, out.Height, out.Header.Height, out.Signed, out.Of, time.Since(out.Time).Round(time.Second), from)
	return s.print(c, out)
}

// proveQuery proves the entry that a query is about.
func (s *settings) proveQuery(c *cobra.Command, t *trust, name string, fields map[string]any) error {
	var err error
	if id, ok := fields["service"].(string); ok {
		if fields["service"], err = s.service(id); err != nil {
			return err
		}
	}
	w, err := provable[name](func(field string) string {
		if fields[field] == nil {
			return ""
		}
		return fmt.Sprint(fields[field])
	})
	if err != nil {
		return usageError{fmt.Errorf("which entry to prove: %w", err)}
	}
	return s.prove(c, t, w)
}

// show decodes a value that was proven.
func show(w wanted, value []byte) (json.RawMessage, error) {
	if w.into == nil {
		return json.Marshal(hex.EncodeToString(value))
	}
	encoding, err := chain.NewEncoding()
	if err != nil {
		return nil, err
	}
	if err := encoding.Codec.Unmarshal(value, w.into); err != nil {
		return nil, fmt.Errorf("decode the entry: %w", err)
	}
	return encoding.Codec.MarshalJSON(w.into)
}

// entry asks for an entry of the state after a block, with its proof. The answer
// is not believed.
func (s *settings) entry(ctx context.Context, w wanted, height int64) (proof.Entry, error) {
	e := proof.Entry{Store: w.store, Key: w.key, Height: height}
	values := url.Values{"path": {"/store/" + w.store + "/key"}, "data": {base64.StdEncoding.EncodeToString(w.key)}, "height": {strconv.FormatInt(height, 10)}, "prove": {"true"}}
	var answer struct {
		Code     uint32 `json:"code"`
		Log      string `json:"log"`
		Value    []byte `json:"value"`
		ProofOps struct {
			Ops []cmtcrypto.ProofOp `json:"ops"`
		} `json:"proof_ops"`
	}
	if err := s.ask(ctx, http.MethodGet, "/cosmos/base/tendermint/v1beta1/abci_query?"+values.Encode(), nil, &answer); err != nil {
		return e, err
	}
	if answer.Code != 0 {
		return e, vm.Refuse(vm.CodeUnavailable, "the node proves nothing of the state after block %d: %.200s", height, answer.Log).Try("try again after the next block")
	}
	var err error
	e.Value = answer.Value
	e.Proof, err = proof.Encode(&cmtcrypto.ProofOps{Ops: answer.ProofOps.Ops})
	if err != nil {
		return e, vm.Refuse(vm.CodeMalformed, "the node sent no proof")
	}
	return e, nil
}

// lightBlock asks for a header with who signed it. The answer is not believed.
func (s *settings) lightBlock(ctx context.Context, height int64) (*cmttypes.LightBlock, error) {
	var answer api.LightBlock
	if err := s.ask(ctx, http.MethodGet, api.PathLight+"?height="+strconv.FormatInt(height, 10), nil, &answer); err != nil {
		return nil, err
	}
	var encoded cmtproto.LightBlock
	if err := encoded.Unmarshal(answer.Block); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "the node's block %d cannot be read", height)
	}
	block, err := cmttypes.LightBlockFromProto(&encoded)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "the node's block %d cannot be read: %.200v", height, err)
	}
	return block, nil
}

// newProveCommand proves any entry by its key.
func newProveCommand(s *settings) *cobra.Command {
	var store, key string
	t := trust{prove: true}
	c := &cobra.Command{
		Use:   "entry",
		Short: "Prove any entry of the state, or that there is none, by its key",
		Long: `entry shows the bytes under a key of a store, checked against what the validators
signed. The keys of the store kms are in docs/kms.md; queries that are about one
entry have --prove, which finds the key.`,
		Example: "  kmsd query entry --store committee --key 00",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := hex.DecodeString(key)
			if err != nil || len(b) == 0 {
				return usageError{fmt.Errorf("--key is %q, want hex digits", key)}
			}
			return s.prove(c, &t, wanted{store, b, nil})
		},
	}
	c.Flags().StringVar(&store, "store", types.StoreKey, "kms, committee, council, acc")
	c.Flags().StringVar(&key, "key", "", "hex digits")
	t.flags(c)
	c.Flags().Lookup("prove").Hidden = true
	return c
}
