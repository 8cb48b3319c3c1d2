package verification

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// dstackSystem checks a dstack machine by its event log.
type dstackSystem struct {
	*finding
	facts   peer.Dstack
	events  int              // of the boot and the application
	refused *vm.Refusal      // why the log counts for nothing
	binding *vm.Refusal      // why the launch contradicts it
	app     *peer.AppCompose // the document whose digest was measured, where it is at hand
	image   *peer.OSImage    // that the machine says it booted, where it describes one
	broken  *vm.Refusal      // why that description counts for nothing
}

func newDstackSystem(f *finding) *dstackSystem {
	d := &dstackSystem{finding: f}
	image, err := peer.ParseOSImage(d.said().VMConfig)
	if d.image = image; err != nil {
		d.broken = refusalOf(err)
	}
	if f.verdict.SNP != nil {
		d.launched(f.verdict.SNP.HostData)
		return d
	}
	log, err := eventlog.ParseDstack(f.answer.Log)
	if err == nil {
		d.facts, err = peer.RecogniseDstack(f.verdict.Measurement, log)
	}
	if err != nil {
		d.refused = refusalOf(err)
		return d
	}
	for _, e := range log {
		if e.Register == vm.RuntimeRegister {
			d.events++
		}
	}
	d.findDocument()
	if err := d.facts.CheckBinding(f.verdict.Measurement.MRConfigID, d.app, d.said().MrConfig); err != nil {
		d.binding = refusalOf(err)
	}
	return d
}

func (d *dstackSystem) said() peer.Served {
	if d.answer.Served == nil {
		return peer.Served{}
	}
	return *d.answer.Served
}

// findDocument looks for the application document that was measured: the
// machine may have served it, or the caller passed it.
func (d *dstackSystem) findDocument() {
	for _, b := range [][]byte{d.said().AppCompose, d.want.Compose} {
		if app, err := peer.ParseAppCompose(b); err == nil && app.Digest() == d.facts.Compose {
			d.app = &app
			return
		}
	}
}

// launched takes the facts of a machine on SEV-SNP, which has no register that
// a log could explain, from the document that its launch was bound to.
func (d *dstackSystem) launched(hostData [32]byte) {
	document := d.said().MrConfig
	if found := peer.DocumentDigest(document); document == nil || found != vm.Hash(hostData) {
		d.refused = vm.Refuse(vm.CodeEvents, "SEV-SNP has no register that a log could explain, and no document that the launch is bound to came along").
			On("HOST_DATA", vm.Hash(hostData).String(), found.String()).Try("evidence with the field mr_config has the document")
		return
	}
	doc, err := peer.ParseDocument(document)
	if err != nil {
		d.refused = refusalOf(err)
		return
	}
	d.facts = peer.Dstack{AppID: doc.AppID, InstanceID: doc.InstanceID, Compose: doc.Compose, Binding: "HOST_DATA", KeyProvider: peer.KeyProvider{Name: doc.KeyProvider, ID: doc.KeyProviderID}}
	d.findDocument()
}

func (d *dstackSystem) name() string { return SystemDstack }

func (d *dstackSystem) checks() []Check {
	connection := fact("connection", "not checked: what report data says is the application's choice", "report data %x…", d.verdict.ReportData[:8])
	fresh := fact("fresh", "not checked: compare report data with what you asked the application to put there", "")
	connection, fresh = d.checkFreshness(connection, fresh)
	out := []Check{
		connection, fresh, d.checkQuote(), d.platform(),
	}
	if d.verdict.SNP != nil {
		out = append(out, d.checkLaunch())
	} else {
		out = append(out, d.checkFirmware(), d.checkKernel(), d.checkHardware(), d.checkSystem())
	}
	out = append(out, d.checkWorkload(), d.checkConfiguration(), d.checkBoot())
	return append(out, d.checkGPUs()...)
}

// checkWorkload compares the application: the whole app-compose.json, or the
// compose file inside it where nothing runs beside that.
func (d *dstackSystem) checkWorkload() Check {
	want := d.want.composeHash()
	measured := d.facts.Compose
	switch {
	case d.refused != nil:
		return fact("workload", "not decided: the event log is not accepted", "")
	case want == nil:
		return fact("workload", "not compared: pass app-compose.json with --compose", "compose-hash %s", measured)
	case *want == measured:
		return holds("workload", "app-compose.json is byte for byte "+d.owned("yours", "the bundle's"), "compose-hash %s", short(measured))
	case d.app == nil:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the machine runs another application than %s", d.owned("yours", "the bundle's")).
			On(vm.EventCompose, measured.String(), want.String()).
			Try("dstack measures app-compose.json as a whole: pass that; the compose file in it is compared where the evidence brings the document along"))
	case vm.HashOf([]byte(d.app.Compose)) != *want:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the application's compose file is not %s", d.owned("yours", "the bundle's")).
			On("docker_compose_file", vm.HashOf([]byte(d.app.Compose)).String(), want.String()).Try("every byte counts, line ends and comments too"))
	case len(d.app.Scripts()) > 0:
		return fact("workload", "the compose file is "+d.owned("yours", "the bundle's")+", but scripts run beside it: pass app-compose.json to compare all", "%s", strings.Join(d.app.Scripts(), " "))
	}
	return holds("workload", "the application's compose file is byte for byte "+d.owned("yours", "the bundle's"), "compose-hash %s", short(measured))
}

func (d *dstackSystem) checkConfiguration() Check {
	switch {
	case d.refused != nil:
		return fact("configuration", "not decided: the event log is not accepted", "")
	case d.binding != nil:
		return fails("configuration", d.binding)
	case d.want.Service != "" || d.want.GroupKey != "":
		return fails("configuration", vm.Refuse(vm.CodeConfig, "dstack machines belong to no service and no key manager of this system").
			On("app-id", d.facts.AppID, "the service and key manager that you named").Try("leave --service and --kms out"))
	}
	id := d.facts.KeyProvider.ID
	if len(id) > 24 {
		id = id[:24] + "…"
	}
	detail := fmt.Sprintf("app-id %s, keys from %q %q", d.facts.AppID, d.facts.KeyProvider.Name, id)
	switch {
	case d.facts.Binding != "":
		return fact("configuration", "launched for this very application; key provider not compared", "%s, %s", detail, d.facts.Binding)
	case d.verdict.Measurement.MRConfigID.IsZero():
		return fact("configuration", "measured at boot alone, bound to nothing at launch; not compared", "%s", detail)
	}
	return fact("configuration", "what it was launched for is not at hand; not compared", "%s, MR_CONFIG_ID %s", detail, short(d.verdict.Measurement.MRConfigID))
}

func (d *dstackSystem) checkBoot() Check {
	switch {
	case d.refused != nil:
		return fails("boot", d.refused)
	case d.verdict.SNP != nil:
		return fact("boot", "this platform has no register for what happens after launch", "")
	}
	detail := fmt.Sprintf("RTMR3, %d events", d.events)
	if n := len(d.facts.Application); n > 0 {
		detail += fmt.Sprintf(", %d of the application: %.60q", n, strings.Join(d.facts.Application, " "))
	}
	return holds("boot", "every event explains the registers; boot completed before the application", "%s", detail)
}

func (d *dstackSystem) missing() (flags []string) {
	if d.want.composeHash() == nil || d.checkWorkload().OK == Open {
		flags = append(flags, "app-compose.json with --compose")
	}
	switch {
	case d.verdict.SNP != nil && len(d.want.Wishes.Launch) == 0 && !d.named():
		flags = append(flags, "a policy with image.root_hash or image.launch")
	case d.verdict.SNP == nil && !d.wantsImage():
		flags = append(flags, "--manifest or a policy that names registers")
	}
	return flags
}

func (d *dstackSystem) warnings() []string { return nil }
