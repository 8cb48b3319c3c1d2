package verifier

import (
	"encoding/hex"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// groupKeySize is that of a compressed G2 point, in bytes.
const groupKeySize = 96

// wish puts the options of c over what want holds already.
func (c Call) wish(want *verification.Wanted) error {
	for name, to := range map[string]*[]byte{"compose": &want.Compose, "files": &want.Files} {
		b, passed := c.Fields[name]
		if passed && len(b) == 0 { // a mistake, and must not read as "not passed"
			return vm.Refuse(vm.CodeInvalid, "%s is empty", name)
		}
		if passed {
			*to = b
		}
	}
	if b, passed := c.Fields["manifest"]; passed {
		manifest, err := vm.ParseManifest(b)
		if err != nil {
			return vm.Refuse(vm.CodeMalformed, "the image's manifest: %v", err).Try("choose manifest.json of the image's folder")
		}
		want.Manifest = &manifest
	}
	if b, passed := c.Fields["roots"]; passed {
		roots, err := verification.ParseRoots(b)
		if err != nil {
			return vm.Refuse(vm.CodeMalformed, "%v", err).Try("choose a certificate in PEM")
		}
		want.Roots = append(want.Roots, roots...)
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
	if text := c.Fields["time"]; len(text) > 0 {
		at, err := time.Parse(time.RFC3339, string(text))
		if err != nil || at.Year() < 2000 || at.Year() > 2200 {
			return vm.Refuse(vm.CodeInvalid, "the time to judge at has no meaning").On("time", string(text), "RFC 3339")
		}
		want.Time = at
	}
	return nil
}
