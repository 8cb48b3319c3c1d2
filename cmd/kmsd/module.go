package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"

	"github.com/cosmos/gogoproto/proto"
	"github.com/spf13/cobra"
	protov2 "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	msgv1 "cosmossdk.io/api/cosmos/msg/v1"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
)

// relayed is the signer's field of what nodes send and people do not.
const relayed = "relay"

// methodsOf lists the methods of a service of a module.
func methodsOf(module, service string) []protoreflect.MethodDescriptor {
	d, err := proto.HybridResolver.FindDescriptorByName(protoreflect.FullName("secretvm." + module + ".v1." + service))
	if err != nil {
		panic(fmt.Sprintf("module %s has no service %s: %v", module, service, err)) // a bug, found by every test
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		panic(fmt.Sprintf("secretvm.%s.v1.%s is no service", module, service))
	}
	var out []protoreflect.MethodDescriptor
	for i := range s.Methods().Len() {
		out = append(out, s.Methods().Get(i))
	}
	return out
}

// signerOf is the field that names who signs a message.
func signerOf(m protoreflect.MessageDescriptor) string {
	names, ok := protov2.GetExtension(m.Options(), msgv1.E_Signer).([]string)
	if !ok || len(names) != 1 {
		return ""
	}
	return names[0]
}

// moduleTx makes a command for every message of a module that people send,
// beside those that are there already.
func (s *settings) moduleTx(module, short string, special ...*cobra.Command) *cobra.Command {
	g := group(module, short, special...)
	for _, m := range methodsOf(module, "Msg") {
		signer := signerOf(m.Input())
		known := slices.ContainsFunc(special, func(c *cobra.Command) bool { return c.Name() == kebab(string(m.Name())) })
		if signer != relayed && signer != "" && !known {
			g.AddCommand(s.newMessage(module, signer, m))
		}
	}
	return g
}

func (s *settings) newMessage(module, signer string, m protoreflect.MethodDescriptor) *cobra.Command {
	name := kebab(string(m.Name()))
	c := &cobra.Command{
		Use: name, Short: shortOf[module+" "+name], Example: fmt.Sprintf("  kmsd tx %s %s --help", module, name), Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := s.actor()
			if err != nil {
				return err
			}
			set := map[string]any{signer: from}
			if f := c.Flags().Lookup("service"); f != nil && f.Changed {
				given, err := c.Flags().GetStringArray("service")
				if err != nil {
					return err
				}
				if set["service"], err = s.service(given[len(given)-1]); err != nil {
					return err
				}
			}
			b, err := jsonOf(c, m.Input(), set)
			if err != nil {
				return err
			}
			msg, err := readMessage(m.Input(), b)
			if err != nil {
				return err
			}
			answer, err := emptyMessage(m.Output())
			if err != nil {
				return err
			}
			return s.act(c, msg, answer)
		},
	}
	flagsOf(c, m.Input(), func(field string) bool { return field == signer })
	return c
}

// act sends a message, or proposes it to a council, or writes it to be signed
// elsewhere, and prints what came of it.
func (s *settings) act(c *cobra.Command, msg sdk.Msg, answer proto.Message) error {
	msg, answer, err := s.proposed(msg, answer)
	if err != nil {
		return err
	}
	if s.unsigned != "" {
		return s.writeUnsigned(c, msg)
	}
	result, err := s.send(c.Context(), msg, answer)
	if err != nil {
		return err
	}
	encoding, err := chain.NewEncoding()
	if err != nil {
		return err
	}
	b, err := encoding.Codec.MarshalJSON(answer)
	if err != nil {
		return err
	}
	done := done{Tx: result.Hash, Height: result.Height, Answer: b}
	line := fmt.Sprintf("done in block %d", result.Height)
	if string(b) != "{}" {
		line += ": " + string(b)
	}
	return s.print(c, done, line)
}

// done is what a message did.
type done struct {
	Tx     string          `json:"tx"`
	Height int64           `json:"height"`
	Answer json.RawMessage `json:"answer"`
}

// readMessage reads a message from protobuf's JSON.
func readMessage(d protoreflect.MessageDescriptor, b []byte) (sdk.Msg, error) {
	encoding, err := chain.NewEncoding()
	if err != nil {
		return nil, err
	}
	msg, err := emptyMessage(d)
	if err != nil {
		return nil, err
	}
	if err := encoding.Codec.UnmarshalJSON(b, msg); err != nil {
		return nil, usageError{fmt.Errorf("read the message: %w", err)}
	}
	return msg, nil
}

func emptyMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	t := proto.MessageType(string(d.FullName()))
	if t == nil {
		return nil, fmt.Errorf("there is no message %s", d.FullName())
	}
	m, ok := reflect.New(t.Elem()).Interface().(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%s is no message", d.FullName())
	}
	return m, nil
}

// moduleQuery makes a command for every query of a module, beside those that are
// there already.
func (s *settings) moduleQuery(module, short string, special ...*cobra.Command) *cobra.Command {
	g := group(module, short, special...)
	for _, m := range methodsOf(module, "Query") {
		name := kebab(string(m.Name()))
		if slices.ContainsFunc(special, func(c *cobra.Command) bool { return c.Name() == name }) {
			continue
		}
		var t trust
		c := &cobra.Command{
			Use: name, Short: "Show " + words(name), Example: fmt.Sprintf("  kmsd query %s %s --json", module, name), Args: usageArgs(cobra.NoArgs),
			RunE: func(c *cobra.Command, _ []string) error { return s.query(c, &t, module, m) },
		}
		if provable[module+" "+name] != nil {
			t.flags(c)
		}
		flagsOf(c, m.Input(), func(field string) bool { return field == "pagination" })
		if m.Input().Fields().ByName("pagination") != nil {
			c.Flags().Uint64("limit", 0, "at most so many entries")
			c.Flags().String("page-key", "", "next_key of the page before, as it was printed")
		}
		g.AddCommand(c)
	}
	return g
}

// query asks the node's REST interface.
func (s *settings) query(c *cobra.Command, t *trust, module string, m protoreflect.MethodDescriptor) error {
	b, err := jsonOf(c, m.Input(), nil)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if t.prove {
		return s.proveQuery(c, t, module+" "+kebab(string(m.Name())), fields)
	}
	values := url.Values{}
	for name, v := range fields {
		if text, ok := v.(string); ok && name == "service" {
			if v, err = s.service(text); err != nil {
				return err
			}
		}
		values.Set(name, fmt.Sprint(v))
	}
	if limit, err := c.Flags().GetUint64("limit"); err == nil && limit != 0 {
		values.Set("pagination.limit", fmt.Sprint(limit))
	}
	if key, err := c.Flags().GetString("page-key"); err == nil && key != "" {
		values.Set("pagination.key", key)
	}
	path := "/secretvm/" + module + "/v1/" + kebab(string(m.Name()))
	if len(values) != 0 {
		path += "?" + values.Encode()
	}
	var answer json.RawMessage
	if err := s.ask(c.Context(), http.MethodGet, path, nil, &answer); err != nil {
		return err
	}
	return s.print(c, answer)
}
