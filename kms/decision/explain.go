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

// matchImage finds the image whose launch registers are the measured ones and
// whose RTMR3 is that of the machine's template.
func matchImage(images []Image, measured vm.Measurement, root vm.Hash, cfg vm.Config) (uint64, *vm.Refusal) {
	template, err := TemplateRegister(root, cfg)
	if err != nil {
		return 0, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	found := Identity{measured.MRTD, measured.RTMR[0], measured.RTMR[1], measured.RTMR[2], template}
	for _, image := range images {
		if image.Identity == found {
			return image.Index, nil
		}
	}
	return 0, explain(images, found, root, cfg)
}

// explain says why no image matches, by way of the image that comes closest.
func explain(images []Image, found Identity, root vm.Hash, cfg vm.Config) *vm.Refusal {
	const hint = "if this is the machine you want, register it: kmsd tx kms add-image"
	if len(images) == 0 {
		return vm.Refuse(vm.CodeImage, "service %s has no images yet", cfg.Service).Try(hint)
	}
	closest, best := images[0], -1
	for _, image := range images {
		if n := len(allRegisters) - len(differing(image.Identity, found)); n >= best { // of equals, the newest
			closest, best = image, n
		}
	}
	wanted := closest.Identity
	names := differing(wanted, found)
	if len(names) != 1 || names[0] != "rtmr3" {
		first := names[0]
		return vm.Refuse(vm.CodeImage, "the machine is no image of service %s; image %d comes closest and differs in %s",
			cfg.Service, closest.Index, strings.Join(names, ", ")).On(first, found.register(first).String(), wanted.register(first).String()).Try(hint)
	}
	if refusal := explainTemplate(closest, root, cfg); refusal != nil {
		return refusal.Try(hint)
	}
	return vm.Refuse(vm.CodeImage, "the machine boots as image %d of service %s, but with another os-image-hash, compose-hash or config (the image was registered without them)",
		closest.Index, cfg.Service).On("rtmr3 of the template", found.RTMR3.String(), wanted.RTMR3.String()).Try(hint)
}

// explainTemplate compares what RTMR3 was made of, where the image says it.
func explainTemplate(image Image, root vm.Hash, cfg vm.Config) *vm.Refusal {
	if image.Template == nil {
		return nil
	}
	want, wantRoot := *image.Template, image.RootHash
	if root != wantRoot {
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
