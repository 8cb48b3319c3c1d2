package vm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// API says which services of the compose file may ask the machine's own API,
// and for what: by the service's name, sorted grants. Who is not in it has no
// socket to ask.
type API map[string][]string

// Grants.
const (
	GrantInfo  = "info"  // what the machine is
	GrantQuote = "quote" // quotes over data of the container's choice (WorkloadReportData)
	GrantEvent = "event" // adding to the application's log (ApplicationEvent)

	GrantSign        = "sign/"         // and ed25519 or secp256k1: signatures of the service's key
	GrantKey         = "key/"          // and a path: the service's key of that path, and those below it
	GrantInstanceKey = "instance-key/" // and a path: likewise, of this machine alone
)

// The kinds of keys that sign messages.
const (
	SignEd25519   = "ed25519"
	SignSecp256k1 = "secp256k1"
)

// Bounds on API.
const (
	MaxAPIServices = 32

	MaxAPIServiceName = 63 // bytes
	MaxAPIGrants      = 32 // of one service
	MaxAPIKeys        = 8  // that the key manager is asked for on its account: see KeyNames
)

// GrantNames are the grants, as people choose among them.
var GrantNames = []string{GrantInfo, GrantQuote, GrantEvent, GrantSign + SignEd25519, GrantSign + SignSecp256k1, GrantKey + "<path>", GrantInstanceKey + "<path>"}

var (
	// apiService is narrower than Compose's own rule for names, so that a name
	// fits into the path of a socket and into a log.
	apiService = Pattern(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	keyPath    = Pattern(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,63}(?:/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,63}){0,7}$`)
)

// CheckKeyPath reports a path that names no key.
func CheckKeyPath(path string) error {
	if !keyPath(path) {
		return fmt.Errorf("%.80q is no path of a key: want 1 to 8 names of at most 64 letters, digits, dots, underscores and hyphens, none of them beginning with a dot or hyphen, with slashes between them", path)
	}
	return nil
}

// Allows reports whether a service has a grant. Grants of keys include the paths
// below theirs.
func (a API) Allows(service, grant string) bool {
	if slices.Contains(a[service], grant) {
		return true
	}
	above := strings.LastIndexByte(grant, '/')
	return above >= 0 && a.Allows(service, grant[:above])
}

// KeyNames lists, sorted, the keys that the key manager is asked for so that all
// grants can be honoured: sign/…, and the first name of each path behind the
// grant's own, as key/wallet.
func (a API) KeyNames() []string {
	var names []string
	for _, grants := range a {
		for _, g := range grants {
			if parts := strings.Split(g, "/"); len(parts) > 1 {
				names = append(names, parts[0]+"/"+parts[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// CheckGrant reports a grant that there is not.
func CheckGrant(grant string) error {
	for _, prefix := range []string{GrantKey, GrantInstanceKey} {
		if path, ok := strings.CutPrefix(grant, prefix); ok {
			return CheckKeyPath(path)
		}
	}
	if !slices.Contains(GrantNames, grant) {
		return fmt.Errorf("%.80q is not one of %s", grant, strings.Join(GrantNames, ", "))
	}
	return nil
}

// CheckAPIService reports a name that no service with grants can have.
func CheckAPIService(name string) error {
	if !apiService(name) {
		return fmt.Errorf("%.80q cannot have an API: want a name of at most 63 letters, digits, dots, underscores and hyphens", name)
	}
	return nil
}

func (a API) validate(kms KMS) error {
	if len(a) > MaxAPIServices {
		return fmt.Errorf("api names %d services, want at most %d", len(a), MaxAPIServices)
	}
	for _, service := range slices.Sorted(maps.Keys(a)) {
		grants := a[service]
		if err := CheckAPIService(service); err != nil {
			return fmt.Errorf("api: service %w", err)
		}
		if len(grants) == 0 || len(grants) > MaxAPIGrants || !slices.IsSorted(grants) || len(slices.Compact(slices.Clone(grants))) != len(grants) {
			return fmt.Errorf("api: grants of %s are %q, want 1 to %d, sorted, without repetition", service, grants, MaxAPIGrants)
		}
		for _, g := range grants {
			if err := CheckGrant(g); err != nil {
				return fmt.Errorf("api: grant of %s: %w", service, err)
			}
		}
	}
	switch names := a.KeyNames(); {
	case len(names) > MaxAPIKeys:
		return fmt.Errorf("api: grants name %d keys (%s), want at most %d: put paths below one name", len(names), strings.Join(names, ", "), MaxAPIKeys)
	case len(names) > 0 && kms.Provider != "":
		return fmt.Errorf("api: the key manager of provider %s has no key for %s", kms.Provider, names[0])
	}
	return nil
}

// MaxWorkloadData bounds what a container may ask a quote about, in bytes.
const MaxWorkloadData = 64
