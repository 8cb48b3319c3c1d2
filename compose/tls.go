package compose

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
	"go.yaml.in/yaml/v3"
)

// challengeService is the machine itself among what publishes ports.
const challengeService = "certificates"

// ChallengePort is where an authority asks the machine for its names, if it is
// to get certificates.
func (w *Workload) ChallengePort() (p Port, ok bool) {
	if w.Settings.TLS == nil {
		return Port{}, false
	}
	return Port{Service: challengeService, Host: w.Settings.TLS.Port(), Protocol: "tcp"}, true
}

// OfMachine reports whether the machine itself listens there, and no service.
func (p Port) OfMachine() bool { return p.Container == 0 }

// authorities are those that x-secretvm.tls.ca may name by a word.
var authorities = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// readTLS reads the block that asks for certificates of a public authority.
func readTLS(to **vm.ACME, services []Service) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		a := vm.ACME{CA: authorities["letsencrypt"], Challenge: vm.ChallengeHTTP}
		err := readFields("tls", n,
			field{"names", readList(&a.Names, vm.CheckDNSName)},
			field{"email", readChecked(&a.Email, vm.CheckEmail)},
			field{"ca", readCA(&a.CA)},
			field{"roots", readChecked(&a.Roots, checkRoots)},
			field{"challenge", readText(&a.Challenge, vm.Challenges...)},
			field{"services", readList(&a.Services, isService(services))})
		if err == nil && (len(a.Names) == 0 || len(a.Names) > vm.MaxNames) {
			err = at(n, "tls has %d names, want 1 to %d: names: [app.example.org]", len(a.Names), vm.MaxNames)
		}
		*to = &a
		return err
	}
}

// isService accepts the names of services of the file.
func isService(services []Service) func(string) error {
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	return func(name string) error {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no service %q%s", name, suggest(name, names))
		}
		return nil
	}
}

func readChecked(to *string, check func(string) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if err := readText(to)(n); err != nil {
			return err
		}
		if err := check(*to); err != nil {
			return at(n, "%v", err)
		}
		return nil
	}
}

func readCA(to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if known := authorities[n.Value]; known != "" {
			*to = known
			return nil
		}
		if !strings.Contains(n.Value, "/") { // a word, and not one of ours
			words := slices.Sorted(maps.Keys(authorities))
			return at(n, "%q is neither %s nor an https URL of an ACME directory%s", n.Value, strings.Join(words, ", "), suggest(n.Value, words))
		}
		return readChecked(to, vm.CheckCA)(n)
	}
}

// checkRoots accepts certificates in PEM, as guests will read them.
func checkRoots(text string) error {
	if len(text) > vm.MaxRoots {
		return fmt.Errorf("%d bytes, want at most %d", len(text), vm.MaxRoots)
	}
	rest := []byte(text)
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if n == 0 || len(bytes.TrimSpace(rest)) > 0 {
				return errors.New("want certificates in PEM, as in a .pem file (write roots: | and the lines below, indented)")
			}
			return nil
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return errors.New("want nothing but certificates in PEM")
		}
	}
}

// checkTLS holds the block against the rest of the file: what would leave a
// machine without certificate, or without its authority's trust, is said here
// and not months later.
func checkTLS(doc *yaml.Node, w *Workload) error {
	a := w.Settings.TLS
	err := eachService(doc, func(s Service, n *yaml.Node) error {
		if v := mountOf(n, vm.TLSFolder); v != nil && (a == nil || !slices.Contains(a.Services, s.Name)) {
			return fmt.Errorf("service %s: %w", s.Name, at(v, "it mounts %s, and is not among those that get a certificate: name it in %s, as tls: { names: [app.example.org], services: [%s] }",
				vm.TLSFolder, SettingsKey, s.Name))
		}
		return nil
	})
	if a == nil || err != nil {
		return err
	}
	if w.Settings.Disk.Ephemeral {
		return fmt.Errorf("%s.tls needs a disk that lasts: with disk.ephemeral every boot would take another account and another certificate, which authorities count", SettingsKey)
	}
	for _, p := range w.Ports() {
		if p.Protocol == "tcp" && p.Host == a.Port() {
			return fmt.Errorf("%s.tls: the authority asks at port %d of the machine (%s), which service %s publishes: %s", SettingsKey, p.Host, a.Challenge, p.Service, otherwise(w, a))
		}
	}
	return nil
}

// otherwise says how to free the port that the authority asks at.
func otherwise(w *Workload, a *vm.ACME) string {
	if a.Challenge == vm.ChallengeHTTP {
		advice := "leave 80 to the machine, which answers there and sends browsers on to https"
		if !slices.ContainsFunc(w.Ports(), func(p Port) bool { return p.Host == 443 && p.Protocol == "tcp" }) {
			advice += "; or write challenge: " + vm.ChallengeTLS + ", which asks at 443"
		}
		return advice
	}
	return "write challenge: " + vm.ChallengeHTTP + " and leave 80 to the machine"
}

// mountOf returns the element of a service's volumes whose source is folder or
// lies in it, or nil.
func mountOf(service *yaml.Node, folder string) *yaml.Node {
	volumes := lookup(service, "volumes")
	if volumes == nil || volumes.Kind != yaml.SequenceNode {
		return nil
	}
	for _, item := range volumes.Content {
		item = follow(item)
		source := item.Value
		if item.Kind == yaml.MappingNode {
			if n := lookup(item, "source"); n != nil {
				source = n.Value
			}
		}
		source, _, _ = strings.Cut(source, ":")
		if source == folder || strings.HasPrefix(source, folder+"/") {
			return item
		}
	}
	return nil
}
