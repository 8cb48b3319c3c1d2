package compose

import (
	"errors"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxServices bounds the services of one file.
const maxServices = 256

// Service is one service of the compose file, as far as it matters here.
type Service struct {
	Name     string
	Image    string
	Pinned   bool     // Image ends in a digest, or has one in Workload.Pins
	Profiles []string // not empty: a plain "up" does not start it
	Ports    []Port
	Socket   bool // it mounts vm.APISocket
}

var pinnedImage = regexp.MustCompile(`^[^$@\s]+@sha256:[0-9a-f]{64}$`)

// readServices lists the services.
func readServices(doc *yaml.Node) ([]Service, error) {
	var services []Service
	taken := map[string]string{}
	err := eachService(doc, func(s Service, n *yaml.Node) error {
		if err := readPublished(&s, n); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
		s.Socket = mountsSocket(n)
		for _, p := range s.Ports {
			if p.Host == 0 || len(s.Profiles) > 0 {
				continue
			}
			slot := fmt.Sprintf("%s/%d/%s", p.HostIP, p.Host, p.Protocol)
			if other, ok := taken[slot]; ok {
				return fmt.Errorf("service %s: port %d/%s is published by %s already", s.Name, p.Host, p.Protocol, other)
			}
			taken[slot] = s.Name
		}
		services = append(services, s)
		return nil
	})
	return services, err
}

// Images calls each for the services of a compose file, with name, image and
// whether that is pinned. It is what a guest needs of this package beside the
// archive, and keeps the rest out of it.
func Images(raw []byte, each func(Service) error) error {
	doc, err := parseDocument(raw)
	if err != nil {
		return err
	}
	return eachService(doc, func(s Service, _ *yaml.Node) error { return each(s) })
}

// eachService calls each for the services in the order of the file. What would
// pull definitions from outside the measured file is refused.
func eachService(doc *yaml.Node, each func(Service, *yaml.Node) error) error {
	if n := lookup(doc, "include"); n != nil {
		return at(n, "include is not supported: one measured file is the whole deployment")
	}
	n := lookup(doc, "services")
	if n == nil || n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return errors.New("compose file has no services")
	}
	keys, values := pairs(n)
	if len(keys) > maxServices {
		return fmt.Errorf("compose file has %d services, want at most %d", len(keys), maxServices)
	}
	for i, key := range keys {
		s, err := readImage(key.Value, values[i])
		if err != nil {
			return fmt.Errorf("service %s: %w", key.Value, err)
		}
		if err := each(s, values[i]); err != nil {
			return err
		}
	}
	return nil
}

func readImage(name string, n *yaml.Node) (Service, error) {
	s := Service{Name: name}
	if n.Kind != yaml.MappingNode {
		return s, at(n, "want a mapping")
	}
	if ext := lookup(n, "extends"); ext != nil && lookup(ext, "file") != nil {
		return s, at(ext, "extends from another file is not supported: one measured file is the whole deployment")
	}
	image := lookup(n, "image")
	switch {
	case image == nil && lookup(n, "extends") != nil: // the other service names it
		s.Pinned = true
	case image == nil:
		return s, at(n, "it has no image: build it, push it, and name it as image: …@sha256:<digest>")
	case image.Kind != yaml.ScalarNode || image.Value == "":
		return s, at(image, "image is not a word")
	default:
		s.Image = image.Value
		s.Pinned = pinnedImage.MatchString(s.Image)
	}
	return s, nil
}

// readPublished reads which ports a service publishes, and its profiles.
func readPublished(s *Service, n *yaml.Node) error {
	if profiles := lookup(n, "profiles"); profiles != nil {
		if err := readList(&s.Profiles, func(string) error { return nil })(profiles); err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
	}
	ports := lookup(n, "ports")
	if ports == nil || ports.Tag == "!!null" {
		return nil
	}
	if ports.Kind != yaml.SequenceNode {
		return at(ports, "ports is not a list")
	}
	for _, item := range ports.Content {
		published, err := readPort(s.Name, follow(item))
		if err != nil {
			return err
		}
		if s.Ports = append(s.Ports, published...); len(s.Ports) > maxPorts {
			return at(ports, "it publishes more than %d ports", maxPorts)
		}
	}
	return nil
}
