package endorsement

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Addresses are where the vendors' services answer: base URLs, asked in order
// until one has the answer.
type Addresses struct {
	Intel        []string `yaml:"pccs"`           // PCS, or PCCS that stand in for it
	IntelRootCRL []string `yaml:"intel_root_crl"` // the whole URL; none: each PCCS is asked for it
	AMD          []string `yaml:"kds"`            // key distribution service
	RIM          []string `yaml:"rim"`            // NVIDIA's reference manifests
	OCSP         []string `yaml:"ocsp"`           // NVIDIA's responder
}

// The vendors' own services.
const (
	IntelPCS     = "https://api.trustedservices.intel.com"
	IntelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der" // the root's CRL distribution point
	AMDKDS       = "https://kdsintf.amd.com"
	NVIDIARIM    = "https://rim.attestation.nvidia.com"
	NVIDIAOCSP   = "https://ocsp.ndis.nvidia.com"
)

// DefaultAddresses are the vendors' own services.
func DefaultAddresses() Addresses {
	return Addresses{Intel: []string{IntelPCS}, AMD: []string{AMDKDS}, RIM: []string{NVIDIARIM}, OCSP: []string{NVIDIAOCSP}}
}

// Environment variables that replace addresses: URLs separated by spaces.
const (
	VariablePCCS         = "SECRETVM_PCCS"
	VariableIntelRootCRL = "SECRETVM_INTEL_ROOT_CRL"
	VariableKDS          = "SECRETVM_KDS"
	VariableRIM          = "SECRETVM_RIM"
	VariableOCSP         = "SECRETVM_OCSP"
)

// ConfigFile is the file below the user's configuration folder that names
// addresses: secretvm/collateral.yaml, with the keys pccs, intel_root_crl,
// kds, rim and ocsp, each a list of URLs.
func ConfigFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find configuration folder: %w", err)
	}
	return filepath.Join(dir, "secretvm", "collateral.yaml"), nil
}

// FindAddresses returns what counts here: flags before the environment, before
// the configuration file, before the vendors' own. Each service is decided on
// its own.
func FindAddresses(flags Addresses, getenv func(string) string, file string) (Addresses, error) {
	configured, err := readConfig(file)
	if err != nil {
		return Addresses{}, err
	}
	environment := Addresses{
		Intel: strings.Fields(getenv(VariablePCCS)), IntelRootCRL: strings.Fields(getenv(VariableIntelRootCRL)),
		AMD: strings.Fields(getenv(VariableKDS)), RIM: strings.Fields(getenv(VariableRIM)), OCSP: strings.Fields(getenv(VariableOCSP)),
	}
	found := DefaultAddresses()
	for _, over := range []Addresses{configured, environment, flags} {
		found = found.replacedBy(over)
	}
	return found.normal()
}

func readConfig(file string) (a Addresses, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || file == "" {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("read addresses: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&a); err != nil && !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("read addresses: %s: %w; the keys are pccs, intel_root_crl, kds, rim and ocsp, each a list of URLs", file, err)
	}
	return a, nil
}

func (a Addresses) replacedBy(over Addresses) Addresses {
	for _, p := range []struct{ to, from *[]string }{
		{&a.Intel, &over.Intel}, {&a.IntelRootCRL, &over.IntelRootCRL}, {&a.AMD, &over.AMD}, {&a.RIM, &over.RIM}, {&a.OCSP, &over.OCSP},
	} {
		if len(*p.from) > 0 {
			*p.to = *p.from
		}
	}
	return a
}

// endpoint is what people paste behind an address: the configuration of
// Intel's own library names the folder of the API, NVIDIA's tools that of RIMs.
var endpoint = regexp.MustCompile(`/((sgx|tdx)/certification(/v[34])?|v1/rim|v[cl]ek/v1)$`)

// normal checks every address and cuts it to its base.
func (a Addresses) normal() (Addresses, error) {
	for _, list := range []*[]string{&a.Intel, &a.IntelRootCRL, &a.AMD, &a.RIM, &a.OCSP} {
		var normal []string
		for _, address := range *list {
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				return a, fmt.Errorf("%q is no address of a service; want for example https://pccs.example:8081", address)
			}
			base := strings.TrimRight(u.String(), "/")
			if list != &a.IntelRootCRL {
				base = endpoint.ReplaceAllString(base, "")
			}
			normal = append(normal, base)
		}
		*list = normal
	}
	return a, nil
}
