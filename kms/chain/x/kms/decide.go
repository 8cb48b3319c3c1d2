package kms

import (
	"crypto/subtle"
	"fmt"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// decision is all that a release is decided from: the message, what the chain
// knows, and the block's time, which comes inside options.
type decision struct {
	release *types.MsgRelease
	chainID string
	group   types.Group
	anchor  *types.Anchor // of the release's height; nil when there is none
	granted bool          // whether this very release was granted before
	images  []types.Image
	options attest.Options
	now     int64 // block time, Unix seconds
	height  int64 // of the block that decides
	params  types.Params
}

// outcome is what a grant says beside the request.
type outcome struct {
	image   uint64
	verdict vm.Verdict
}

// decide runs the checks in the order in which their answers help the owner
// most: is the request about this chain and service, is it fresh, is the
// evidence genuine, is it about this request and config, is it an image of the
// service. The first that does not hold is the refusal.
func (d *decision) decide() (out outcome, refusal *vm.Refusal) {
	cfg, refusal := d.checkConfig()
	if refusal != nil {
		return out, refusal
	}
	request, refusal := d.checkFresh()
	if refusal != nil {
		return out, refusal
	}
	out.verdict, refusal = d.verify()
	if refusal != nil {
		return out, refusal
	}
	if refusal := checkBinding(out.verdict, request, cfg); refusal != nil {
		return out, refusal
	}
	root, refusal := checkEvents(d.release.RuntimeEvents(), out.verdict, cfg)
	if refusal != nil {
		return out, refusal
	}
	out.image, refusal = matchImage(d.images, out.verdict.Measurement, root, cfg)
	return out, refusal
}

// checkConfig reads the measured config and compares what it says of the key
// manager and the machine with the truth.
func (d *decision) checkConfig() (vm.Config, *vm.Refusal) {
	cfg, err := vm.ParseConfig(d.release.Config)
	if err != nil {
		return cfg, vm.Refuse(vm.CodeMalformed, "read the machine's config: %v", err)
	}
	groupKey := fmt.Sprintf("%x", d.group.Commitments[0])
	for _, c := range []struct{ field, found, wanted string }{
		{"service", cfg.Service, d.release.Service},
		{"kms.chain_id", cfg.KMS.ChainID, d.chainID},
		{"kms.group_key", cfg.KMS.GroupKey, groupKey},
		{"instance_id", cfg.InstanceID, d.release.VmUid},
	} {
		if c.found != c.wanted {
			return cfg, vm.Refuse(vm.CodeConfig, "the machine's config does not belong to this request").On(c.field, c.found, c.wanted)
		}
	}
	if cfg.InstanceID == vm.NoInstance {
		return cfg, vm.Refuse(vm.CodeConfig, "the machine's config is a template, not a machine's").On("instance_id", cfg.InstanceID, "the machine's own")
	}
	return cfg, nil
}

// checkFresh accepts a release that names a recent block of this chain and was
// not granted before, and returns what its quote must say.
func (d *decision) checkFresh() (request vm.Release, refusal *vm.Refusal) {
	r := d.release
	request = vm.Release{ChainID: d.chainID, InstanceID: r.VmUid, HPKEKey: r.HpkeKey, SessionKey: r.SessionKey}
	copy(request.BlockHash[:], r.BlockHash)
	stale := func(found, wanted string) *vm.Refusal {
		return vm.Refuse(vm.CodeStale, "the release names no recent block of this chain").On("block", found, wanted).
			Try("boot the machine again; if it happens always, the machine's connection to the nodes is too slow")
	}
	oldest := fmt.Sprintf("one of the last %d blocks and %d s", d.params.MaxBlockAge, d.params.MaxBlockAgeSeconds)
	switch {
	case d.height-r.Height > int64(d.params.MaxBlockAge):
		return request, stale(fmt.Sprintf("%d, %d blocks ago", r.Height, d.height-r.Height), oldest)
	case d.anchor == nil || subtle.ConstantTimeCompare(d.anchor.Hash, r.BlockHash) != 1:
		return request, stale(fmt.Sprintf("%d %x", r.Height, r.BlockHash), oldest)
	case d.now-d.anchor.Time > int64(d.params.MaxBlockAgeSeconds):
		return request, stale(fmt.Sprintf("%d, %d s ago", r.Height, d.now-d.anchor.Time), oldest)
	case d.granted:
		id := keys.GrantID(d.chainID, request.ReportData())
		return request, vm.Refuse(vm.CodeReplayed, "this very release was granted before, as grant %x", id)
	}
	return request, nil
}

// verify asks package attest whether the evidence is genuine. A panic there
// would be a bug; it becomes a refusal, the same on every node, because a chain
// that stops is worse than a machine that does not start.
func (d *decision) verify() (verdict vm.Verdict, refusal *vm.Refusal) {
	defer func() {
		if recover() != nil {
			verdict, refusal = vm.Verdict{}, vm.Refuse(vm.CodeInternal, "verifying the evidence failed in an unexpected way")
		}
	}()
	verdict, err := attest.Verify(d.release.Evidence(), d.options)
	if err != nil {
		if r := asRefusal(err); r != nil {
			return verdict, r
		}
		return verdict, vm.Refuse(vm.CodeInternal, "verifying the evidence failed")
	}
	return verdict, nil
}

// checkBinding holds the quote to this request and to the config.
func checkBinding(verdict vm.Verdict, request vm.Release, cfg vm.Config) *vm.Refusal {
	want := request.ReportData()
	if subtle.ConstantTimeCompare(verdict.ReportData, want[:]) != 1 {
		return vm.Refuse(vm.CodeReportData, "the quote was not made for this request").
			On("report_data", fmt.Sprintf("%x", verdict.ReportData), fmt.Sprintf("%x", want))
	}
	id, err := cfg.ConfigID()
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "digest the machine's config: %v", err)
	}
	if got := verdict.Measurement.MRConfigID; got != id {
		return vm.Refuse(vm.CodeConfig, "the machine was launched with another config than it shows").
			On("mr_config_id", got.String(), id.String())
	}
	return nil
}
