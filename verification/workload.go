package verification

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// payload returns the digest in the first event of that name. Events mean
// something only because RTMR3 is their fold and each digest follows from its
// event, which is checked here again: everything below rests on it.
func (f *finding) payload(name string) (vm.Hash, *vm.Refusal) {
	events := f.answer.Attestation.Evidence.Events
	if refusal := f.eventsExplain(events); refusal != nil {
		return vm.Hash{}, refusal
	}
	for _, e := range events {
		if e.Name != name {
			continue
		}
		if len(e.Payload) != len(vm.Hash{}) {
			return vm.Hash{}, vm.Refuse(vm.CodeEvents, "the event %s holds no digest", name).
				On("payload", fmt.Sprintf("%d bytes", len(e.Payload)), "32")
		}
		return vm.Hash(e.Payload), nil
	}
	return vm.Hash{}, vm.Refuse(vm.CodeEvents, "the machine did not measure %s", name).
		On("events", eventNames(events), name).Try("this is no secretvm image, or an old one")
}

func (f *finding) eventsExplain(events []vm.Event) *vm.Refusal {
	for _, e := range events {
		if err := e.CheckRuntime(); err != nil {
			return vm.Refuse(vm.CodeEvents, "%v", err)
		}
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return vm.Refuse(vm.CodeEvents, "%v", err)
	}
	if got := f.verdict.Measurement.RTMR[vm.RuntimeRegister]; rtmr[vm.RuntimeRegister] != got {
		return vm.Refuse(vm.CodeEvents, "the events do not explain the runtime register").
			On("RTMR3", got.String(), rtmr[vm.RuntimeRegister].String())
	}
	return nil
}

func (f *finding) rootHash() (vm.Hash, *vm.Refusal) { return f.payload(vm.EventImage) }

// ours reports whether the machine claims to have booted as ours do, or the
// caller wants it to: only then can missing events be held against it.
func (f *finding) ours() bool {
	w := f.want
	if f.answer.Config != nil || w.Manifest != nil || w.composeHash() != nil || w.filesHash() != nil || w.Service != "" || w.GroupKey != "" {
		return true
	}
	return slices.ContainsFunc(f.answer.Attestation.Evidence.Events, func(e vm.Event) bool { return e.Name == vm.EventImage })
}

// unexplained is a subject that genuine evidence of an unknown system says
// nothing about.
func (f *finding) unexplained(name string) Check {
	return fact(name, "unknown: no events of secretvm came with the evidence", "RTMR3 %s", short(f.verdict.Measurement.RTMR[vm.RuntimeRegister]))
}

// checkWorkload compares compose file and files archive with the events.
func (f *finding) checkWorkload() Check {
	switch {
	case f.wholeRegisters() && f.want.composeHash() == nil:
		return holds("workload", "everything measured is as the policy wants", "RTMR3 %s", short(f.verdict.Measurement.RTMR[vm.RuntimeRegister]))
	case !f.ours():
		return f.unexplained("workload")
	}
	measured, refusal := f.payload(vm.EventCompose)
	want := f.want.composeHash()
	switch {
	case refusal != nil:
		return fails("workload", refusal)
	case want == nil:
		return fact("workload", "not compared: pass your compose file with --compose", "compose-hash %s", short(measured))
	case *want != measured:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the machine runs another compose file than %s", f.owned("yours", "the bundle's")).
			On(vm.EventCompose, measured.String(), want.String()).
			Try("every byte counts, line ends and comments too; where the owner opened it, GET /docker-compose gives theirs"))
	}
	return f.checkFiles(measured)
}

// owned picks the words for a wish of the caller's own, or of a bundle's maker.
func (f *finding) owned(yours, bundles string) string {
	if f.want.Recorded {
		return bundles
	}
	return yours
}

func (f *finding) checkFiles(compose vm.Hash) Check {
	files, refusal := f.payload(vm.EventFiles)
	none := refusal != nil
	want := f.want.filesHash()
	switch {
	case none && want == nil:
		return holds("workload", f.owned("compose file is byte for byte yours", "compose file is byte for byte that of the bundle"), "compose-hash %s", short(compose))
	case none:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the machine has no files beside the compose file, you passed some").
			On(vm.EventFiles, "absent", want.String()).Try("leave --files out"))
	case want == nil:
		return fact("workload", f.owned("compose file is yours", "compose file is the bundle's")+"; its files are not compared: pass --files", "docker-files-hash %s", short(files))
	case *want != files:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the machine's files archive is not %s", f.owned("yours", "the bundle's")).
			On(vm.EventFiles, files.String(), want.String()).
			Try("pass the very archive that was deployed: every byte counts"))
	}
	return holds("workload", f.owned("compose file and files are byte for byte yours", "compose file and files are byte for byte those of the bundle"), "compose-hash %s, docker-files-hash %s", short(compose), short(files))
}

// checkConfiguration accepts the served config only when both measurements of
// it agree, then compares it with what the caller wants.
func (f *finding) checkConfiguration() Check {
	switch {
	case !f.ours() || f.wholeRegisters() && f.answer.Config == nil:
		return f.unexplained("configuration")
	case f.answer.unasked() && (f.want.Service != "" || f.want.GroupKey != ""):
		return fails("configuration", vm.Refuse(vm.CodeConfig, "no configuration came with the evidence, so service and key manager cannot be compared").
			On("configuration", "absent", or(f.want.Service, "key manager "+f.want.GroupKey)).
			Try("ask the machine itself, or use a bundle: they hold it"))
	case f.answer.unasked():
		return fact("configuration", "unknown: no configuration came with the evidence", "MR_CONFIG_ID %s", short(f.verdict.Measurement.MRConfigID))
	}
	served := vm.HashOf(f.answer.Config)
	event, refusal := f.payload(vm.EventConfig)
	if refusal != nil {
		return fails("configuration", refusal)
	}
	const hint = "the host may have swapped what is served; the measured digest is the truth"
	if served != event {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "the served config is not the measured one").
			On(vm.EventConfig, event.String(), served.String()).Try(hint))
	}
	var id vm.Register
	copy(id[:], served[:])
	if got := f.verdict.Measurement.MRConfigID; got != id {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "the machine was launched for another config").
			On("MR_CONFIG_ID", got.String(), id.String()).Try(hint))
	}
	config, err := vm.ParseConfig(f.answer.Config)
	if err != nil {
		return fails("configuration", vm.Refuse(vm.CodeMalformed, "%v", err))
	}
	if compose, refusal := f.payload(vm.EventCompose); refusal != nil || compose != config.ComposeHash {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "the config names another compose file than was measured").
			On("compose_hash", config.ComposeHash.String(), compose.String()))
	}
	f.config = &config
	return f.checkWishes(config, served)
}

// forDevelopment refuses what is for development, unless the caller says otherwise.
func (f *finding) forDevelopment(dev bool) *vm.Refusal {
	if !dev || f.want.Wishes.Dev {
		return nil
	}
	return vm.Refuse(vm.CodeDevImage, "the machine runs an image for development: its operator can run commands in it").
		On("dev", "true", "false").Try("for a machine of your own: --accept-dev, or image.dev in a policy")
}

func (f *finding) checkWishes(config vm.Config, digest vm.Hash) Check {
	if refusal := f.forDevelopment(config.Dev); refusal != nil {
		return fails("configuration", refusal)
	}
	if want := f.want.Service; want != "" && want != config.Service {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "the machine belongs to another service").
			On("service", config.Service, want).Try("check the address, or the service id that you were told"))
	}
	if want := f.want.GroupKey; want != "" && want != config.KMS.GroupKey {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "the machine takes its keys from another key manager").
			On("kms.group_key", config.KMS.GroupKey, want).Try("`kmsd status` shows the group key of a key manager"))
	}
	what := fmt.Sprintf("service %s, KMS %s %s", config.Service, config.KMS.ChainID, config.KMS.Provider)
	if config.KMS.Provider == "" {
		what = fmt.Sprintf("service %s, KMS %s %s…", config.Service, config.KMS.ChainID, config.KMS.GroupKey[:8])
	}
	if f.want.Service == "" { // bound to the quote, but compared with nothing
		return fact("configuration", what+"; not compared: pass --service", "config-hash %s = MR_CONFIG_ID", short(digest))
	}
	return holds("configuration", what, "config-hash %s = MR_CONFIG_ID", short(digest))
}

// checkBoot holds the events against those of a boot of this config: nothing
// more, nothing less, boot-complete last.
func (f *finding) checkBoot() Check {
	if !f.ours() || f.wholeRegisters() && f.answer.Config == nil {
		return f.unexplained("boot")
	}
	events := f.answer.Attestation.Evidence.Events
	root, refusal := f.rootHash()
	if refusal != nil {
		return fails("boot", refusal)
	}
	if f.config == nil {
		return checkBootNames(events)
	}
	want, err := vm.BootEvents(root, *f.config)
	if err != nil {
		return fails("boot", vm.Refuse(vm.CodeConfig, "%v", err))
	}
	for i := range max(len(want), len(events)) {
		if i < len(want) && i < len(events) && equalEvents(want[i], events[i]) {
			continue
		}
		return fails("boot", vm.Refuse(vm.CodeEvents, "the events are not those of one boot of this config").
			On(fmt.Sprintf("event %d", i), eventAt(events, i), eventAt(want, i)).
			Try("something extended the register that should not have"))
	}
	return holds("boot", "boot completed; nothing was measured after it", "RTMR3, %d events", len(events))
}

// checkBootNames is what can be said without the config: that the events are
// those of one boot, and none came behind it.
func checkBootNames(events []vm.Event) Check {
	want := []string{vm.EventImage, vm.EventCompose, vm.EventFiles, vm.EventConfig, vm.EventBootComplete}
	if !slices.ContainsFunc(events, func(e vm.Event) bool { return e.Name == vm.EventFiles }) {
		want = slices.Delete(want, 2, 3)
	}
	for i := range max(len(want), len(events)) {
		if i < len(want) && i < len(events) && events[i].Name == want[i] {
			continue
		}
		wanted := "absent"
		if i < len(want) {
			wanted = fmt.Sprintf("%q", want[i])
		}
		return fails("boot", vm.Refuse(vm.CodeEvents, "the events are not those of one boot").
			On(fmt.Sprintf("event %d", i), eventAt(events, i), wanted).
			Try("something extended the register that should not have"))
	}
	return fact("boot", "boot completed; the config is not shown to be the measured one", "events %s", eventNames(events))
}

func equalEvents(a, b vm.Event) bool {
	return a.Register == b.Register && a.Name == b.Name && bytes.Equal(a.Payload, b.Payload) && a.Digest == b.Digest
}

func eventAt(events []vm.Event, i int) string {
	if i >= len(events) {
		return "absent"
	}
	if len(events[i].Payload) == 0 {
		return fmt.Sprintf("%q", events[i].Name)
	}
	return fmt.Sprintf("%q %s", events[i].Name, hex.EncodeToString(events[i].Payload))
}

// eventNames lists names for people; quoted, for a machine may call an event
// anything.
func eventNames(events []vm.Event) string {
	if len(events) == 0 {
		return "none"
	}
	out := ""
	for i, e := range events {
		if i == 8 {
			return out + " …"
		}
		if i > 0 {
			out += " "
		}
		out += fmt.Sprintf("%q", e.Name)
	}
	return out
}
