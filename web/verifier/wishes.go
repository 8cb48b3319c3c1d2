package verifier

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/policy"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// groupKeySize is that of a compressed G2 point, in bytes.
const groupKeySize = 96

// wishes are the options that say something about the machine; roots and time
// do not.
var wishes = []string{"policy", "compose", "files", "manifest", "registry", "service", "group_key"}

// wanted reads the options: the policy first, then what replaces parts of it.
// Like the command, it keeps what a bundle recorded only where the caller says
// nothing about the machine: wishes of two people are never mixed.
func (c Call) wanted(recorded verification.Wanted) (want verification.Wanted, err error) {
	for name, value := range c.Fields {
		if _, text := textFields[name]; !text && len(value) == 0 { // a mistake, and must not read as "not passed"
			return want, vm.Refuse(vm.CodeInvalid, "%s is empty", name)
		}
	}
	want = verification.Wanted{Time: recorded.Time, BundleRoots: recorded.BundleRoots}
	if !slices.ContainsFunc(wishes, func(name string) bool { return len(c.Fields[name]) > 0 }) {
		want = recorded
	}
	for _, read := range []func(*verification.Wanted) error{c.policy, c.workload, c.image, c.registry, c.roots, c.time} {
		if err := read(&want); err != nil {
			return want, err
		}
	}
	return want, nil
}

// textFields are options that are text; an empty one is none.
var textFields = map[string]struct{}{"service": {}, "group_key": {}, "time": {}, "trust_bundle_roots": {}, "url": {}}

// policy applies a policy file. A file that it names comes from the option of
// that kind, for there are no paths here.
func (c Call) policy(want *verification.Wanted) error {
	b := c.Fields["policy"]
	if b == nil {
		return nil
	}
	p, err := policy.Parse(b)
	if err != nil {
		return err
	}
	passed := map[string][]byte{
		p.Workload.Compose: c.Fields["compose"], p.Workload.Files: c.Fields["files"], p.Image.Manifest: c.Fields["manifest"],
	}
	for _, path := range p.TrustRoots {
		passed[path] = c.Fields["roots"]
	}
	for i, b := range c.files("registry") {
		if i < len(p.Image.Registry) {
			passed[p.Image.Registry[i]] = b
		}
	}
	return p.Apply(want, func(path string) ([]byte, error) {
		b, known := passed[path]
		if b != nil {
			return b, nil
		}
		hint := "only the command reads such a file: secretvm verify --policy"
		if known || slices.Contains(p.Image.Registry, path) {
			hint = "pass that file too, as the option of its kind"
		}
		return nil, vm.Refuse(vm.CodeInvalid, "the policy names the file %.80q, which cannot be opened from here", path).Try(hint)
	})
}

func (c Call) workload(want *verification.Wanted) error {
	if b := c.Fields["compose"]; b != nil {
		want.Compose, want.Wishes.ComposeHash = b, nil
	}
	if b := c.Fields["files"]; b != nil {
		want.Files, want.Wishes.FilesHash = b, nil
	}
	if service := c.Fields["service"]; len(service) > 0 {
		want.Service = string(service)
	}
	if text := c.Fields["group_key"]; len(text) > 0 {
		key, err := hex.DecodeString(string(text))
		if err != nil || len(key) != groupKeySize {
			return vm.Refuse(vm.CodeInvalid, "the key manager's group key is not one").
				On("group key", string(text), "192 hex digits").Try("`kmsd status` prints it")
		}
		want.GroupKey = hex.EncodeToString(key)
	}
	return nil
}

func (c Call) image(want *verification.Wanted) error {
	b := c.Fields["manifest"]
	if b == nil {
		return nil
	}
	manifest, err := vm.ParseManifest(b)
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "the image's manifest: %v", err).Try("choose manifest.json of the image's folder")
	}
	want.Manifest, want.Wishes.Registers, want.Wishes.RootHash = &manifest, nil, nil
	return nil
}

func (c Call) registry(want *verification.Wanted) error {
	files := c.files("registry")
	if files == nil {
		return nil
	}
	known, err := peer.ParseRegistry(files...)
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "the registry of known images: %v", err).Try("it is tdx.csv and sev.json of existing SecretVM")
	}
	want.Registry = known
	return nil
}

// roots adds what the caller trusts beside the vendors' roots.
func (c Call) roots(want *verification.Wanted) error {
	if b := c.Fields["roots"]; b != nil {
		roots, err := verification.ParseRoots(b)
		if err != nil {
			return vm.Refuse(vm.CodeMalformed, "%v", err).Try("choose a certificate in PEM")
		}
		want.Roots = append(want.Roots, roots...)
	}
	if len(c.Fields["trust_bundle_roots"]) > 0 {
		want.Roots = append(want.Roots, want.BundleRoots...)
	}
	return nil
}

// time decides when to judge: as the caller says, else as the bundle recorded,
// else now.
func (c Call) time(want *verification.Wanted) error {
	text := string(c.Fields["time"])
	if text == "" {
		if want.Time.IsZero() {
			want.Time = c.Now
		}
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 2000 || at.Year() > 2200 {
		return vm.Refuse(vm.CodeInvalid, "the time to judge at has no meaning").On("time", text, "RFC 3339")
	}
	want.Time = at
	return nil
}
