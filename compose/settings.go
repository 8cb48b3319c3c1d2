package compose

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/vm"
	"go.yaml.in/yaml/v3"
)

// SettingsKey is the extension field that holds what secretvm needs beyond
// Compose. It is part of the compose file, so it is measured with it.
const SettingsKey = "x-secretvm"

// DefaultDiskSize is the size of the data disk where nothing else is said, in bytes.
const DefaultDiskSize = 4 << 30

// minDiskSize leaves room for the LUKS2 header and a journal.
const minDiskSize = 64 << 20

// Settings is the x-secretvm block, defaults filled in.
type Settings struct {
	Service string    // name of the KMS service, without its owner
	Disk    Disk      //
	Shape   vm.Shape  // a default; any registered shape may run the workload
	Open    []string  // endpoints that strangers may read, sorted
	Tokens  []vm.Hash // SHA-256 of the tokens that open every endpoint, sorted
	Env     []string  // variables that the owner sets through the KMS, sorted
	Egress  []string  // as in vm.Config
	Images  string    // "digest" or "tag"
	GPU     string    // "none" or "attest"
	Manager *Manager  // another key manager than a kmsd chain; nil: none
	TLS     *vm.ACME  // certificates of a public authority; nil: none
	API     vm.API    // what services may ask the machine itself; nil: none may

	Privileged []string // services that are given the machine itself if they ask, sorted
	Profiles   []string // that are started too, sorted
	Time       []string // servers that correct the machine's clock, sorted
}

// Disk says how much data the workload may keep, and how.
type Disk struct {
	Size      int64 // bytes
	Integrity bool
	Ephemeral bool
}

// readSettings reads the block. Without it every field has its default, and a
// file whose images are not all pinned gets images: tag, so that any public
// compose file runs and its verifiers can see that tags may move.
func readSettings(doc *yaml.Node, services []Service) (Settings, error) {
	s := Settings{
		Disk:   Disk{Size: DefaultDiskSize},
		Shape:  vm.DefaultShape,
		Images: "digest",
		GPU:    vm.GPUNone,
	}
	if name := lookup(doc, "name"); name != nil && serviceName.MatchString(name.Value) {
		s.Service = name.Value
	}
	unpinned := slices.IndexFunc(services, func(s Service) bool { return !s.Pinned })
	block := lookup(doc, SettingsKey)
	if block == nil {
		if unpinned >= 0 {
			s.Images = "tag"
		}
		return s, errors.Join(s.checkSockets(services), s.checkPowers(doc), s.checkGPUs(doc))
	}
	err := readFields(SettingsKey, block,
		field{"service", readServiceName(&s.Service)},
		field{"disk", func(n *yaml.Node) error {
			return readFields("disk", n,
				field{"size", readSize(&s.Disk.Size)},
				field{"integrity", readBool(&s.Disk.Integrity)},
				field{"ephemeral", readBool(&s.Disk.Ephemeral)})
		}},
		field{"shape", func(n *yaml.Node) error {
			return readFields("shape", n,
				field{"cpus", readCount(&s.Shape.CPUs)},
				field{"memory", readSize(&s.Shape.Memory)})
		}},
		field{"open", readList(&s.Open, isEndpoint)},
		field{"tokens", readTokens(&s.Tokens)},
		field{"env", readList(&s.Env, vm.CheckEnv)},
		field{"egress", readEgress(&s.Egress)},
		field{"images", readText(&s.Images, "digest", "tag")},
		field{"gpu", readText(&s.GPU, vm.GPUNone, vm.GPUAttest)},
		field{"kms", readManager(&s.Manager)},
		field{"tls", readTLS(&s.TLS, services)},
		field{"api", readAPI(&s.API, services)},
		field{"privileged", readList(&s.Privileged, isService(services))},
		field{"profiles", readList(&s.Profiles, isProfile(services))},
		field{"time", readList(&s.Time, vm.CheckTimeServer)},
	)
	if err != nil {
		return s, err
	}
	if s.Disk.Size < minDiskSize {
		return s, fmt.Errorf("%s.disk.size: %d bytes, want at least 64M", SettingsKey, s.Disk.Size)
	}
	if err := s.Shape.Validate(); err != nil {
		return s, fmt.Errorf("%s.%w", SettingsKey, err)
	}
	if s.Images == "digest" && unpinned >= 0 {
		bad := services[unpinned]
		return s, fmt.Errorf("service %s: image %q is not pinned: add @sha256:<digest>, pin it in %s, or say images: tag in %s to accept tags that move",
			bad.Name, bad.Image, PinsName, SettingsKey)
	}
	return s, errors.Join(s.checkSockets(services), s.checkPowers(doc), s.checkGPUs(doc))
}

func readServiceName(to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || !serviceName.MatchString(n.Value) {
			return at(n, "%q is not a service name: want lower-case letters, digits and hyphens, at most 63", n.Value)
		}
		*to = n.Value
		return nil
	}
}

func isEndpoint(name string) error {
	if !slices.Contains(vm.Endpoints, name) {
		return fmt.Errorf("%q is not one of %s%s", name, strings.Join(vm.Endpoints, ", "), suggest(name, vm.Endpoints))
	}
	return nil
}

// readTokens reads the SHA-256 digests of access tokens, in hex. The file is
// public; the tokens must not be in it.
func readTokens(to *[]vm.Hash) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		var list []string
		err := readList(&list, func(text string) error {
			var h vm.Hash
			if err := h.UnmarshalText([]byte(text)); err != nil || h.IsZero() {
				return errors.New("want SHA-256 digests in lower-case hex: of each token, never the token itself (printf %s TOKEN | sha256sum)")
			}
			*to = append(*to, h)
			return nil
		})(n)
		slices.SortFunc(*to, func(a, b vm.Hash) int { return bytes.Compare(a[:], b[:]) })
		*to = slices.Compact(*to)
		return err
	}
}

func readCount(to *int) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			return at(n, "want a number, found %q", n.Value)
		}
		*to = v
		return nil
	}
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,9})([MGT])(?:i?B)?$`)

// readSize reads a size such as 512M, 4G or 1TiB into bytes; units are powers of 1024.
func readSize(to *int64) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		m := sizePattern.FindStringSubmatch(n.Value)
		if n.Kind != yaml.ScalarNode || m == nil {
			return at(n, "want a size such as 512M or 4G, found %q", n.Value)
		}
		v, err := strconv.ParseInt(m[1], 10, 64)
		unit := map[string]int64{"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[m[2]]
		if err != nil || v > math.MaxInt64/unit {
			return at(n, "%q is too large", n.Value)
		}
		*to = v * unit
		return nil
	}
}
