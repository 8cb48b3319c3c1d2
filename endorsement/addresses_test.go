package endorsement

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest"
)

func TestAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "collateral.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(name string) string {
		return map[string]string{VariableKDS: "http://kds.env:1/ https://second.env", VariableRIM: "https://rim.env/v1/rim/"}[name]
	}
	write("pccs: [https://pccs.file:8081/sgx/certification/v4/]\nkds: [https://kds.file]\nrim: [https://rim.file]\nocsp: [https://ocsp.file]\n")
	got, err := FindAddresses(Addresses{RIM: []string{"https://rim.flag"}}, getenv, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  []string
		want string
	}{
		{"file", got.Intel, "https://pccs.file:8081"},
		{"environment before file", got.AMD, "http://kds.env:1 https://second.env"},
		{"flag before environment", got.RIM, "https://rim.flag"},
		{"file", got.OCSP, "https://ocsp.file"},
	} {
		if strings.Join(tt.got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, tt.got, tt.want)
		}
	}
	none := func(string) string { return "" }
	for _, name := range []string{"", filepath.Join(t.TempDir(), "none.yaml")} {
		if got, err := FindAddresses(Addresses{}, none, name); err != nil || !slices.Equal(got.Intel, []string{IntelPCS}) || !slices.Equal(got.OCSP, []string{NVIDIAOCSP}) {
			t.Errorf("without configuration: %+v, %v", got, err)
		}
	}
	write("")
	if _, err := FindAddresses(Addresses{}, none, file); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	for _, text := range []string{"pcss: [https://a]\n", "pccs: {a: b}\n", "pccs: [a.example]\n", "pccs: ['https://user:pass@a']\n", "pccs: ['https://a?b']\n", "pccs: ['ftp://a']\n"} {
		write(text)
		if _, err := FindAddresses(Addresses{}, none, file); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// The CRL of Intel's root lies where the root that is built in says.
func TestRootCRLAddress(t *testing.T) {
	if got := attest.IntelRoot().CRLDistributionPoints; !slices.Equal(got, []string{IntelRootCRL}) {
		t.Errorf("the root says %v", got)
	}
	f := Options{}.finder()
	if a := f.askRootCRL(IntelPlatform{}); !slices.Equal(a.urls, []string{IntelRootCRL}) {
		t.Errorf("asks %v", a.urls)
	}
	f.Addresses.Intel = []string{"https://pccs.example"}
	if a := f.askRootCRL(IntelPlatform{}); !slices.Equal(a.urls, []string{"https://pccs.example/sgx/certification/v4/rootcacrl"}) {
		t.Errorf("asks %v of a PCCS", a.urls)
	}
	f.Addresses.IntelRootCRL = []string{"https://mirror.example/root.der"}
	if a := f.askRootCRL(IntelPlatform{}); !slices.Equal(a.urls, []string{"https://mirror.example/root.der"}) {
		t.Errorf("asks %v when told", a.urls)
	}
}
