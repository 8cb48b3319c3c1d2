package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/configdisk"
)

// Bounds on a document once its aliases are followed, so that a small file
// cannot make its readers do much work.
const (
	maxNodes = 50_000
	maxDepth = 64
)

// parseDocument returns the root mapping of the only document in raw.
func parseDocument(raw []byte) (*yaml.Node, error) {
	if len(raw) > configdisk.MaxComposeSize {
		return nil, fmt.Errorf("compose file has %d bytes, want at most %d", len(raw), configdisk.MaxComposeSize)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("compose file is empty")
		}
		return nil, fmt.Errorf("parse compose file: %w", err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("compose file has a second document, want one")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("compose file is not a mapping")
	}
	budget := maxNodes
	if err := checkTree(doc.Content[0], 0, &budget); err != nil {
		return nil, err
	}
	return doc.Content[0], nil
}

// checkTree walks the tree as a reader that follows aliases would, and refuses
// what is too large, too deep, cyclic, or has a key twice.
func checkTree(n *yaml.Node, depth int, budget *int) error {
	if *budget--; *budget < 0 {
		return fmt.Errorf("compose file stands for more than %d values once its aliases are followed", maxNodes)
	}
	if depth > maxDepth {
		return at(n, "more than %d levels deep, aliases followed", maxDepth)
	}
	if n.Kind == yaml.AliasNode {
		return checkTree(n.Alias, depth+1, budget)
	}
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				return at(key, "a key is not a plain word")
			}
			if seen[key.Value] && key.Tag != "!!merge" {
				return at(key, "%q stands here a second time", key.Value)
			}
			seen[key.Value] = true
		}
	}
	for _, child := range n.Content {
		if err := checkTree(child, depth+1, budget); err != nil {
			return err
		}
	}
	return nil
}

// at makes an error that names the line.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// follow returns what an alias stands for. checkTree has excluded cycles.
func follow(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// pairs returns the keys and values of a mapping, those of its merge keys (<<)
// after its own. Earlier ones win.
func pairs(n *yaml.Node) (keys, values []*yaml.Node) {
	n = follow(n)
	if n == nil {
		return nil, nil
	}
	var merged []*yaml.Node
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], follow(n.Content[i+1])
		switch {
		case key.Tag != "!!merge":
			keys, values = append(keys, key), append(values, value)
		case value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		default:
			merged = append(merged, value)
		}
	}
	for _, m := range merged {
		k, v := pairs(m)
		keys, values = append(keys, k...), append(values, v...)
	}
	return keys, values
}

// lookup returns the value of a key of a mapping, or nil.
func lookup(n *yaml.Node, name string) *yaml.Node {
	keys, values := pairs(n)
	i := slices.IndexFunc(keys, func(k *yaml.Node) bool { return k.Value == name })
	if i < 0 {
		return nil
	}
	return values[i]
}

// field reads the value of one named field.
type field struct {
	name string
	read func(*yaml.Node) error
}

// readFields reads a mapping whose keys are all known.
func readFields(what string, n *yaml.Node, fields ...field) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return at(n, "%s is not a mapping", what)
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	keys, values := pairs(n)
	done := map[string]bool{}
	for i, key := range keys {
		f := slices.Index(names, key.Value)
		if f < 0 {
			return at(key, "%s has no field %q%s", what, key.Value, suggest(key.Value, names))
		}
		if done[key.Value] { // an own key overrides a merged one
			continue
		}
		done[key.Value] = true
		if err := fields[f].read(values[i]); err != nil {
			return fmt.Errorf("%s.%s: %w", what, key.Value, err)
		}
	}
	return nil
}

func readText(to *string, allowed ...string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return at(n, "want a word")
		}
		if len(allowed) > 0 && !slices.Contains(allowed, n.Value) {
			return at(n, "%q is not one of %s%s", n.Value, strings.Join(allowed, ", "), suggest(n.Value, allowed))
		}
		*to = n.Value
		return nil
	}
}

func readBool(to *bool) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || (n.Value != "true" && n.Value != "false") {
			return at(n, "want true or false, found %q", n.Value)
		}
		*to = n.Value == "true"
		return nil
	}
}

// readList reads a list of words, each held against check.
func readList(to *[]string, check func(string) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return at(n, "want a list")
		}
		for _, item := range n.Content {
			item = follow(item)
			if item.Kind != yaml.ScalarNode {
				return at(item, "want a list of words")
			}
			if err := check(item.Value); err != nil {
				return at(item, "%v", err)
			}
			*to = append(*to, item.Value)
		}
		slices.Sort(*to)
		*to = slices.Compact(*to)
		return nil
	}
}
