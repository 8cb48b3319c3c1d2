package decision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// checkEvents accepts exactly the events that a machine with this config
// extends, in order and to the end, and returns the root hash they name.
func checkEvents(events []vm.Event, verdict vm.Verdict, cfg vm.Config) (root vm.Hash, refusal *vm.Refusal) {
	if len(events) == 0 || events[0].Name != vm.EventImage || len(events[0].Payload) != len(root) {
		return root, vm.Refuse(vm.CodeEvents, "the event list does not begin with %s and a digest", vm.EventImage)
	}
	copy(root[:], events[0].Payload)
	want, err := vm.BootEvents(root, cfg)
	if err != nil {
		return root, vm.Refuse(vm.CodeMalformed, "events of the machine's config: %v", err)
	}
	for i := range max(len(want), len(events)) {
		switch {
		case i >= len(want):
			return root, vm.Refuse(vm.CodeEvents, "event %d %.80q comes after %s, when no boot event can", i, events[i].Name, vm.EventBootComplete)
		case i >= len(events):
			return root, vm.Refuse(vm.CodeEvents, "event %d %s is missing", i, want[i].Name)
		case events[i].Name != want[i].Name:
			return root, vm.Refuse(vm.CodeEvents, "the machine measured other events than its config makes").
				On(fmt.Sprintf("event %d", i), fmt.Sprintf("%.80q", events[i].Name), fmt.Sprintf("%q", want[i].Name))
		case !bytes.Equal(events[i].Payload, want[i].Payload):
			code := vm.CodeConfig
			if want[i].Name == vm.EventCompose {
				code = vm.CodeCompose
			}
			return root, vm.Refuse(code, "the machine measured another %s than its config names", want[i].Name).
				On(want[i].Name, fmt.Sprintf("%.64x", events[i].Payload), fmt.Sprintf("%x", want[i].Payload))
		}
	}
	registers, err := vm.Replay(want)
	if err != nil {
		return root, vm.Refuse(vm.CodeEvents, "replay the events: %v", err)
	}
	if got, want := verdict.Measurement.RTMR[3], registers[3]; got != want {
		return root, vm.Refuse(vm.CodeEvents, "the events do not explain RTMR3").On("rtmr3", got.String(), want.String())
	}
	return root, nil
}

// part is one compared value of an identity.
type part struct{ name, value string }

// parts returns what is compared of a machine of i's TEE, the platform's first.
func (i Identity) parts() (platform, software []part) {
	if i.TEE == vm.SNP {
		return []part{{"launch digest", i.Launch.String()}}, []part{{"template", i.Template.String()}}
	}
	return []part{{"mrtd", i.MRTD.String()}, {"rtmr0", i.RTMR0.String()}},
		[]part{{"rtmr1", i.RTMR1.String()}, {"rtmr2", i.RTMR2.String()}, {"rtmr3", i.RTMR3.String()}}
}

// difference is a part that is not equal.
type difference struct{ name, found, wanted string }

func differing(found, wanted []part) (out []difference) {
	for i := range found {
		if found[i].value != wanted[i].value {
			out = append(out, difference{found[i].name, found[i].value, wanted[i].value})
		}
	}
	return out
}

// closest is the image that a machine resembles most, and in what it differs.
type closest struct {
	image     Image
	platforms int          // rows of the machine's TEE
	platform  []difference // from the row that comes closest
	software  []difference
}

// find returns the image whose software differs least; of equals the newest.
func find(images Images, found Identity) (c closest, any bool, err error) {
	newest, err := images.Newest()
	if err != nil || len(newest) == 0 {
		return c, false, err
	}
	_, software := found.parts()
	for i, image := range newest {
		wanted, err := image.Identity(Platform{TEE: found.TEE})
		if err != nil {
			continue // no image for this TEE
		}
		_, other := wanted.parts()
		if d := differing(software, other); !any || len(d) < len(c.software) {
			c, any = closest{image: newest[i], software: d}, true
		}
	}
	if !any {
		c.image = newest[0]
	}
	rows, err := images.Platforms(c.image.Index)
	if err != nil {
		return c, true, err
	}
	platform, _ := found.parts()
	for _, row := range rows {
		if row.TEE != found.TEE {
			continue
		}
		other, _ := Identity{Platform: row}.parts()
		if d := differing(platform, other); c.platforms == 0 || len(d) < len(c.platform) {
			c.platform = d
		}
		c.platforms++
	}
	return c, true, nil
}

// explain says why no image matches, by way of the image that comes closest.
func (d deciding) explain(found Identity, root vm.Hash, cfg vm.Config) (*vm.Refusal, error) {
	const hint = "if this is the machine you want, register it: kmsd tx kms add-image"
	c, any, err := find(d.chain.Images, found)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for the closest image: %w", err)
	case !any:
		return vm.Refuse(vm.CodeImage, "service %s has no images yet", cfg.Service).Try(hint), nil
	case c.platforms == 0:
		return vm.Refuse(vm.CodeImage, "the machine is no image of service %s: image %d, which comes closest, names no platform of this TEE", cfg.Service, c.image.Index).
			On("tee", string(found.TEE), "another").Try(hint), nil
	}
	if len(c.platform)+len(c.software) == 0 { // Images forgets revoked ones when there are very many
		return vm.Refuse(vm.CodeRetired, "the machine is image %d of service %s, which its owner revoked", c.image.Index, cfg.Service), nil
	}
	if len(c.platform) > 0 || len(c.software) != 1 || (c.software[0].name != "rtmr3" && c.software[0].name != "template") {
		return c.differs(cfg.Service).Try(hint), nil
	}
	if refusal := explainTemplate(c.image, found.TEE, root, cfg); refusal != nil {
		return refusal.Try(hint), nil
	}
	return vm.Refuse(vm.CodeImage, "the machine boots as image %d of service %s, but with another os-image-hash, compose-hash or config (the image was registered without them)",
		c.image.Index, cfg.Service).On("rtmr3 of the template", c.software[0].found, c.software[0].wanted).Try(hint), nil
}

// differs names the registers, and shows the first.
func (c closest) differs(service string) *vm.Refusal {
	all := append(append([]difference{}, c.platform...), c.software...)
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.name
	}
	reason := fmt.Sprintf("the machine is no image of service %s; image %d comes closest and differs in %s", service, c.image.Index, strings.Join(names, ", "))
	if len(c.platform) > 0 && c.platforms > 1 {
		reason += fmt.Sprintf(" from each of its %d platforms", c.platforms)
	}
	return vm.Refuse(vm.CodeImage, "%s", reason).On(all[0].name, all[0].found, all[0].wanted)
}

// explainTemplate compares what RTMR3 was made of, where the image says it.
func explainTemplate(image Image, tee vm.TEE, root vm.Hash, cfg vm.Config) *vm.Refusal {
	if image.Template == nil {
		return nil
	}
	want, wantRoot := *image.Template, image.RootHash
	if tee == vm.TDX && root != wantRoot { // SEV-SNP has it in the launch digest
		return vm.Refuse(vm.CodeImage, "root file system sha256:%s is not that of image %d", root, image.Index).
			On(vm.EventImage, root.String(), wantRoot.String())
	}
	if cfg.ComposeHash != want.ComposeHash {
		return vm.Refuse(vm.CodeCompose, "compose file sha256:%s is not that of image %d", cfg.ComposeHash, image.Index).
			On("compose_hash", cfg.ComposeHash.String(), want.ComposeHash.String())
	}
	for _, field := range differingFields(want, cfg.Template()) {
		return vm.Refuse(vm.CodeConfig, "the config is not that of image %d", image.Index).On(field.name, field.found, field.wanted)
	}
	return nil
}

type fieldDifference struct{ name, found, wanted string }

// differingFields compares two configs field by field, by their JSON names.
func differingFields(want, found vm.Config) (out []fieldDifference) {
	w, f := fields(want), fields(found)
	names := make([]string, 0, len(w)+len(f))
	for name := range w {
		names = append(names, name)
	}
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !bytes.Equal(w[name], f[name]) {
			out = append(out, fieldDifference{name, orAbsent(f[name]), orAbsent(w[name])})
		}
	}
	return out
}

func fields(c vm.Config) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	b, err := c.Canonical()
	if err != nil || json.Unmarshal(b, &m) != nil {
		return nil // both sides were parsed from canonical bytes before
	}
	return m
}

func orAbsent(b json.RawMessage) string {
	if b == nil {
		return "absent"
	}
	return string(b)
}
