package decision

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// Request is what a machine asks.
type Request struct {
	Service    string
	InstanceID string
	HPKEKey    []byte
	SessionKey []byte
	Height     int64 // of the block that the quote names
	BlockHash  vm.Hash
	Config     []byte      // canonical vm.Config
	Evidence   vm.Evidence // with events
}

// about is what the request's quote must say.
func (r Request) about(chainID string) vm.Release {
	return vm.Release{ChainID: chainID, BlockHash: r.BlockHash, InstanceID: r.InstanceID, HPKEKey: r.HPKEKey, SessionKey: r.SessionKey}
}

// GrantID names the grant that the request would get: it follows from the
// report data, so the same release is the same grant.
func (r Request) GrantID(chainID string) vm.Hash {
	return keys.GrantID(chainID, r.about(chainID).ReportData())
}

// Anchor is a block whose hash a release may name.
type Anchor struct {
	Hash vm.Hash
	Time int64 // Unix seconds
}

// Chain is what the chain knows when it decides.
type Chain struct {
	ID       string
	GroupKey string  // hex, as configs write it
	Anchor   *Anchor // of the request's height; nil when there is none
	Granted  bool    // whether this very release was granted before
	Images   []Image // of the request's service
	Height   int64   // of the block that decides
	Now      int64   // its time, Unix seconds

	MaxBlockAge     uint64 // blocks
	MaxBlockSeconds uint64
	Verify          attest.Options // trust roots and the block's time
}

// Outcome is what a grant says beside the request.
type Outcome struct {
	Image   uint64
	Verdict vm.Verdict
}

// deciding is one decision under way.
type deciding struct {
	Request
	chain Chain
}

// Decide runs the checks in the order in which their answers help the owner
// most: is the request about this chain and service, is it fresh, is the
// evidence genuine, is it about this request and config, is it an image of the
// service. The first that does not hold is the refusal.
func Decide(r Request, c Chain) (out Outcome, refusal *vm.Refusal) {
	d := deciding{r, c}
	cfg, refusal := d.checkConfig()
	if refusal != nil {
		return out, refusal
	}
	if refusal := d.checkFresh(); refusal != nil {
		return out, refusal
	}
	out.Verdict, refusal = d.verify()
	if refusal != nil {
		return out, refusal
	}
	if refusal := checkBinding(out.Verdict, d.about(c.ID), cfg); refusal != nil {
		return out, refusal
	}
	root, refusal := checkEvents(r.Evidence.Events, out.Verdict, cfg)
	if refusal != nil {
		return out, refusal
	}
	out.Image, refusal = matchImage(c.Images, out.Verdict.Measurement, root, cfg)
	return out, refusal
}

// checkConfig reads the measured config and compares what it says of the key
// manager and the machine with the truth.
func (d deciding) checkConfig() (vm.Config, *vm.Refusal) {
	cfg, err := vm.ParseConfig(d.Config)
	if err != nil {
		return cfg, vm.Refuse(vm.CodeMalformed, "read the machine's config: %v", err)
	}
	for _, c := range []struct{ field, found, wanted string }{
		{"service", cfg.Service, d.Service},
		{"kms.chain_id", cfg.KMS.ChainID, d.chain.ID},
		{"kms.group_key", cfg.KMS.GroupKey, d.chain.GroupKey},
		{"instance_id", cfg.InstanceID, d.InstanceID},
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
// not granted before.
func (d deciding) checkFresh() *vm.Refusal {
	c := d.chain
	stale := func(found string) *vm.Refusal {
		wanted := fmt.Sprintf("one of the last %d blocks and %d s", c.MaxBlockAge, c.MaxBlockSeconds)
		return vm.Refuse(vm.CodeStale, "the release names no recent block of this chain").On("block", found, wanted).
			Try("boot the machine again; if it happens always, the machine's connection to the nodes is too slow")
	}
	switch {
	case c.Height-d.Height > int64(c.MaxBlockAge):
		return stale(fmt.Sprintf("%d, %d blocks ago", d.Height, c.Height-d.Height))
	case c.Anchor == nil || c.Anchor.Hash != d.BlockHash:
		return stale(fmt.Sprintf("%d %s", d.Height, d.BlockHash))
	case c.Now-c.Anchor.Time > int64(c.MaxBlockSeconds):
		return stale(fmt.Sprintf("%d, %d s ago", d.Height, c.Now-c.Anchor.Time))
	case c.Granted:
		return vm.Refuse(vm.CodeReplayed, "this very release was granted before, as grant %s", d.GrantID(c.ID))
	}
	return nil
}

// verify asks package attest whether the evidence is genuine. A panic there
// would be a bug; it becomes a refusal, the same on every node, because a chain
// that stops is worse than a machine that does not start.
func (d deciding) verify() (verdict vm.Verdict, refusal *vm.Refusal) {
	defer func() {
		if recover() != nil {
			verdict, refusal = vm.Verdict{}, vm.Refuse(vm.CodeInternal, "verifying the evidence failed in an unexpected way")
		}
	}()
	verdict, err := attest.Verify(d.Evidence, d.chain.Verify)
	if err != nil {
		var r *vm.Refusal
		if errors.As(err, &r) {
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
