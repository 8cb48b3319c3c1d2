package compose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
	"go.yaml.in/yaml/v3"
)

// readAPI reads which services may ask the machine's API for what: a mapping
// from names of services to lists of grants.
func readAPI(to *vm.API, services []Service) func(*yaml.Node) error {
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	return func(n *yaml.Node) error {
		*to = vm.API{}
		var fields []field
		for _, name := range names {
			fields = append(fields, field{name, func(n *yaml.Node) error {
				if err := vm.CheckAPIService(name); err != nil {
					return at(n, "%v", err)
				}
				var grants []string
				if err := readList(&grants, isGrant)(n); err != nil {
					return err
				}
				if len(grants) == 0 {
					return at(n, "want at least one of %s, or leave %s out", strings.Join(vm.GrantNames, ", "), name)
				}
				(*to)[name] = grants
				return nil
			}})
		}
		if err := readFields("api", n, fields...); err != nil {
			return err
		}
		if len(*to) > vm.MaxAPIServices {
			return at(n, "%d services, want at most %d", len(*to), vm.MaxAPIServices)
		}
		return nil
	}
}

func isGrant(grant string) error {
	if err := vm.CheckGrant(grant); err != nil {
		return fmt.Errorf("%w%s", err, suggest(grant, vm.GrantNames))
	}
	return nil
}

// mountsSocket reports whether a service asks for the API's socket as a volume,
// as files do that are also run without a machine.
func mountsSocket(n *yaml.Node) bool {
	volumes := lookup(n, "volumes")
	return volumes != nil && slices.ContainsFunc(volumes.Content, func(v *yaml.Node) bool {
		v = follow(v)
		if source := lookup(v, "source"); source != nil {
			return source.Value == vm.APISocket
		}
		source, _, _ := strings.Cut(v.Value, ":")
		return source == vm.APISocket
	})
}

// checkSockets refuses services that mount the socket without any grant: they
// would find an empty folder there.
func (s Settings) checkSockets(services []Service) error {
	for _, service := range services {
		if _, granted := s.API[service.Name]; service.Socket && !granted {
			return fmt.Errorf("service %s: it mounts %s, and may not ask for anything there: name its grants in %s, as api: { %s: [%s] }",
				service.Name, vm.APISocket, SettingsKey, service.Name, strings.Join(vm.GrantNames, ", "))
		}
	}
	return nil
}
