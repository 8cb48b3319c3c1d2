package vm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// API says which services of the compose file may ask the machine's own API,
// and for what: by the service's name, sorted grants. Who is not in it has no
// socket to ask.
type API map[string][]string

// Grants without a parameter.
const (
	GrantInfo  = "info"  // what the machine is
	GrantQuote = "quote" // quotes over data of the container's choice (WorkloadReportData)
)

// Bounds on API.
const (
	MaxAPIServices = 32
	MaxAPIGrants   = 32 // of one service
)

// GrantNames are the grants that need no parameter, sorted.
var GrantNames = []string{GrantInfo, GrantQuote}

// apiService is narrower than Compose's own rule for names, so that a name fits
// into the path of a socket and into a log.
var apiService = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// Allows reports whether a service has a grant.
func (a API) Allows(service, grant string) bool { return slices.Contains(a[service], grant) }

// CheckGrant reports a grant that there is not.
func CheckGrant(grant string) error {
	if !slices.Contains(GrantNames, grant) {
		return fmt.Errorf("%q is not one of %s", grant, strings.Join(GrantNames, ", "))
	}
	return nil
}

// CheckAPIService reports a name that no service with grants can have.
func CheckAPIService(name string) error {
	if !apiService.MatchString(name) {
		return fmt.Errorf("%q cannot have an API: want a name of at most 63 letters, digits, dots, underscores and hyphens", name)
	}
	return nil
}

func (a API) validate() error {
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
	return nil
}

// MaxWorkloadData bounds what a container may ask a quote about, in bytes.
const MaxWorkloadData = 64
