package compose

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// readEgress reads where containers may send to: all, none, or a list.
func readEgress(to *[]string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind == yaml.ScalarNode {
			var word string
			if err := readText(&word, "all", vm.EgressNone)(n); err != nil {
				return err
			}
			if *to = nil; word == vm.EgressNone {
				*to = []string{vm.EgressNone}
			}
			return nil
		}
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			return at(n, "an empty list could mean either: write none, or all")
		}
		return readList(to, func(text string) error {
			_, err := vm.ParseDestination(text)
			return err
		})(n)
	}
}

func isProfile(services []Service) func(string) error {
	var names []string
	for _, s := range services {
		names = append(names, s.Profiles...)
	}
	return func(name string) error {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no service has the profile %q%s", name, suggest(name, names))
		}
		return nil
	}
}
