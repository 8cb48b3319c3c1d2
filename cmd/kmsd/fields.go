package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// flagsOf gives a command a flag for each field of a message but the left out
// ones: bytes are hex or @FILE, messages and lists of them JSON or @FILE, lists
// are given by repeating the flag.
func flagsOf(c *cobra.Command, message protoreflect.MessageDescriptor, leftOut func(string) bool) {
	fields := message.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if name := string(f.Name()); !leftOut(name) {
			c.Flags().StringArray(flagName(name), nil, describe(f))
		}
	}
}

func flagName(field string) string { return strings.ReplaceAll(field, "_", "-") }

// describe says in a few words what a flag wants.
func describe(f protoreflect.FieldDescriptor) string {
	text := ""
	switch f.Kind() {
	case protoreflect.BytesKind:
		text = "hex digits or @FILE"
	case protoreflect.MessageKind:
		text = "JSON of " + string(f.Message().Name()) + ", or @FILE"
	case protoreflect.EnumKind:
		text = "name of " + string(f.Enum().Name())
	case protoreflect.BoolKind:
		text = "true or false"
	case protoreflect.StringKind:
		text = "text or @FILE (@@ begins a text with @)"
	default:
		text = "number"
	}
	if f.IsList() {
		text += "; may be repeated"
	}
	return text
}

// jsonOf makes protobuf's JSON of a message from the flags that were given.
func jsonOf(c *cobra.Command, message protoreflect.MessageDescriptor, set map[string]any) (json.RawMessage, error) {
	out := make(map[string]any, len(set))
	fields := message.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		flag := c.Flags().Lookup(flagName(name))
		if flag == nil || !flag.Changed {
			continue
		}
		given, err := c.Flags().GetStringArray(flagName(name))
		if err != nil {
			return nil, err
		}
		values := make([]any, len(given))
		for n, text := range given {
			if values[n], err = valueOf(f, text); err != nil {
				return nil, usageError{fmt.Errorf("--%s: %w", flagName(name), err)}
			}
		}
		switch {
		case f.IsList():
			out[name] = values
		case len(values) != 1:
			return nil, usageError{fmt.Errorf("--%s is given %d times, want once", flagName(name), len(values))}
		default:
			out[name] = values[0]
		}
	}
	for name, value := range set {
		out[name] = value
	}
	return json.Marshal(out)
}

// valueOf reads one value of a flag.
func valueOf(f protoreflect.FieldDescriptor, text string) (any, error) {
	raw := []byte(text)
	path, file := strings.CutPrefix(text, "@")
	if literal, ok := strings.CutPrefix(path, "@"); file && ok { // @@ begins a text with @
		raw, text, file = []byte("@"+literal), "@"+literal, false
	}
	if file {
		var err error
		if raw, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	switch f.Kind() {
	case protoreflect.BytesKind:
		if !file {
			var err error
			if raw, err = hex.DecodeString(text); err != nil {
				return nil, fmt.Errorf("want hex digits or @FILE: %w", err)
			}
		}
		return base64.StdEncoding.EncodeToString(raw), nil
	case protoreflect.MessageKind:
		if !json.Valid(raw) {
			return nil, fmt.Errorf("want the JSON of %s", f.Message().Name())
		}
		return json.RawMessage(raw), nil
	case protoreflect.BoolKind:
		switch text {
		case "true", "false":
			return text == "true", nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case protoreflect.StringKind, protoreflect.EnumKind:
		return string(raw), nil
	}
	return text, nil // numbers: protobuf's JSON takes them as strings
}

// kebab is the command of a method: AddImage is add-image.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
