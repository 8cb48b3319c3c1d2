package policy

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on a policy file.
const (
	MaxSize = 256 << 10
	maxList = 1024
)

// Parse reads a policy file. The error is a *vm.Refusal that names the line.
func Parse(b []byte) (Policy, error) {
	var p Policy
	n, err := document(b)
	if err == nil {
		err = fill(reflect.ValueOf(&p).Elem(), n, "policy", "")
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Policy{}, vm.Refuse(vm.CodeInvalid, "policy: %v", err).
			Try("docs/verification.md lists every field, with an example")
	}
	return p, nil
}

func document(b []byte) (*yaml.Node, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("the file has %d bytes, want at most %d", len(b), MaxSize)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		return nil, fmt.Errorf("%.200s", err.Error())
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has a second document, want one")
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("the file is empty")
	}
	return doc.Content[0], nil
}

// at makes an error that names the line.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// fill reads n into v, whose type says what is allowed.
func fill(v reflect.Value, n *yaml.Node, name, enum string) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return at(n, "%s uses an alias or anchor, which policies do not have: write it out", name)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	_, text := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case text || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice:
		return fillScalar(v, n, name, enum)
	case v.Kind() == reflect.Struct:
		return fillStruct(v, n, name)
	}
	if n.Kind != yaml.SequenceNode {
		return at(n, "%s wants a list", name)
	}
	if len(n.Content) == 0 || len(n.Content) > maxList {
		return at(n, "%s has %d entries, want 1 to %d (leave the field out for none)", name, len(n.Content), maxList)
	}
	for i, item := range n.Content {
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		if err := fill(v.Index(i), item, fmt.Sprintf("%s[%d]", name, i), enum); err != nil {
			return err
		}
	}
	return nil
}

func fillStruct(v reflect.Value, n *yaml.Node, name string) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "%s wants fields, some of %s", name, strings.Join(fields(v.Type()), ", "))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		known := fields(v.Type())
		at1 := slices.Index(known, key.Value)
		switch {
		case at1 < 0:
			return at(key, "%s has no field %.64q%s", name, key.Value, suggest(key.Value, known))
		case seen[key.Value]:
			return at(key, "%s stands here a second time", key.Value)
		}
		seen[key.Value] = true
		inner := key.Value
		if name != "policy" {
			inner = name + "." + key.Value
		}
		if err := fill(v.Field(at1), value, inner, v.Type().Field(at1).Tag.Get("enum")); err != nil {
			return err
		}
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("required") == "true" && !seen[f.Tag.Get("yaml")] {
			return at(n, "%s lacks %s", name, f.Tag.Get("yaml"))
		}
	}
	return nil
}

// fields returns the names of a struct's fields in YAML.
func fields(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}

func fillScalar(v reflect.Value, n *yaml.Node, name, enum string) error {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return at(n, "%s wants one value", name)
	}
	if allowed := strings.Split(enum, ","); enum != "" && !slices.Contains(allowed, n.Value) {
		return at(n, "%s is %.64q, want %s%s", name, n.Value, strings.Join(allowed, ", "), suggest(n.Value, allowed))
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			return at(n, "%s: %v", name, err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if n.Value == "" {
			return at(n, "%s is empty", name)
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Value != "true" && n.Value != "false" {
			return at(n, "%s is %.64q, want true or false", name, n.Value)
		}
		v.SetBool(n.Value == "true")
	default: // the schema has no other kind than int left
		i, err := strconv.Atoi(n.Value)
		if err != nil || i < 0 {
			return at(n, "%s is %.64q, want a number that is not negative", name, n.Value)
		}
		v.SetInt(int64(i))
	}
	return nil
}

// UnmarshalText reads a number, decimal or hexadecimal behind 0x.
func (b *bits) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("%.64q is no 64-bit number such as 0x40000000", text)
	}
	*b = bits(n)
	return nil
}

// UnmarshalText reads a duration such as 10m.
func (d *duration) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	if err != nil || t <= 0 {
		return fmt.Errorf("%.64q is no time such as 10m or 24h", text)
	}
	*d = duration(t)
	return nil
}
