package decision

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

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
	Keys       []keys.ID   // of the service

	// Node is set of a machine that asks to become a node of the key manager
	// rather than for keys: HPKEKey, SessionKey and Keys are empty then.
	Node *vm.Admission
}

// reportData is what the request's quote must say.
func (r Request) reportData(chainID string) [64]byte {
	if r.Node == nil {
		return r.about(chainID).ReportData()
	}
	about := *r.Node
	about.ChainID, about.BlockHash, about.InstanceID = chainID, r.BlockHash, r.InstanceID
	return about.ReportData()
}

// about is what the quote of a request for keys must say.
func (r Request) about(chainID string) vm.Release {
	return vm.Release{ChainID: chainID, BlockHash: r.BlockHash, InstanceID: r.InstanceID, HPKEKey: r.HPKEKey, SessionKey: r.SessionKey}
}

// GrantID names the grant that the request would get: it follows from the
// report data, so the same release is the same grant.
func (r Request) GrantID(chainID string) vm.Hash {
	return keys.GrantID(chainID, r.reportData(chainID))
}

// Anchor is a block whose hash a release may name.
type Anchor struct {
	Hash vm.Hash
	Time int64 // Unix seconds
}

// Group is the group key of an open epoch.
type Group struct {
	Epoch uint64
	Key   string // hex, as configs write it
}

// Chain is what the chain knows when it decides.
type Chain struct {
	ID      string
	Groups  []Group // of all open epochs that have a key, oldest first
	Anchor  *Anchor // of the request's height; nil when there is none
	Granted bool    // whether this very release was granted before
	Images  Images  // of the request's service
	Height  int64   // of the block that decides
	Now     int64   // its time, Unix seconds

	MaxBlockAge     uint64 // blocks
	MaxBlockSeconds uint64
	Verify          attest.Options   // trust roots, the block's time and the service's policy
	Verifier        *attest.Verifier // says what attest.Verify says, faster; nil: attest.Verify
	NoHardware      bool             // whether the service's policy lists hardware, and none
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
// evidence genuine and good enough, is it about this request and config, is it
// an active image of the service, have its GPUs proved themselves. The first that does not hold is the refusal;
// an error says that the ledger could not be read, and that nothing was decided.
func Decide(r Request, c Chain) (out Outcome, refusal *vm.Refusal, err error) {
	d := deciding{r, c}
	cfg, refusal := d.checkConfig()
	if refusal != nil {
		return out, refusal, nil
	}
	if refusal := d.checkFresh(); refusal != nil {
		return out, refusal, nil
	}
	out.Verdict, refusal = d.verify()
	if refusal != nil {
		return out, refusal, nil
	}
	if refusal := checkBinding(out.Verdict, d.reportData(c.ID), cfg); refusal != nil {
		return out, refusal, nil
	}
	found, root, refusal := identify(r.Evidence.Events, out.Verdict, cfg)
	if refusal != nil {
		return out, refusal, nil
	}
	out.Image, refusal, err = d.match(found, root, cfg)
	if refusal != nil || err != nil {
		return out, refusal, err
	}
	return out, checkGPUs(out.Verdict, cfg), nil
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
		{"instance_id", cfg.InstanceID, d.InstanceID},
	} {
		if c.found != c.wanted {
			return cfg, vm.Refuse(vm.CodeConfig, "the machine's config does not belong to this request").On(c.field, c.found, c.wanted)
		}
	}
	if cfg.InstanceID == vm.NoInstance {
		return cfg, vm.Refuse(vm.CodeConfig, "the machine's config is a template, not a machine's").On("instance_id", cfg.InstanceID, "the machine's own")
	}
	return cfg, d.checkEpochs(cfg.KMS)
}

// checkEpochs accepts keys of open epochs whose group keys the machine measured:
// it could not check others.
func (d deciding) checkEpochs(kms vm.KMS) *vm.Refusal {
	current, open := d.chain.key(kms.Epoch)
	switch {
	case !open:
		return vm.Refuse(vm.CodeConfig, "the machine's config names an epoch of the group key that is not open").
			On("kms.epoch", fmt.Sprint(kms.Epoch), d.chain.epochs())
	case kms.GroupKey != current:
		return vm.Refuse(vm.CodeConfig, "the machine's config does not belong to this request").On("kms.group_key", kms.GroupKey, current)
	}
	for _, id := range d.Keys {
		key, open := d.chain.key(id.Epoch)
		switch named := namedKey(kms, id.Epoch); {
		case !open:
			return vm.Refuse(vm.CodeInvalid, "a key of an epoch that is not open").On("epoch", fmt.Sprint(id.Epoch), d.chain.epochs())
		case named != key:
			return vm.Refuse(vm.CodeConfig, "the machine's config does not name the group key of epoch %d", id.Epoch).On("kms.previous", named, key)
		}
	}
	return nil
}

// namedKey is the group key that a config names for an epoch, or "".
func namedKey(kms vm.KMS, epoch uint64) string {
	if epoch == kms.Epoch {
		return kms.GroupKey
	}
	for _, p := range kms.Previous {
		if p.Epoch == epoch {
			return p.GroupKey
		}
	}
	return ""
}

// key is the group key of an open epoch.
func (c Chain) key(epoch uint64) (string, bool) {
	for _, g := range c.Groups {
		if g.Epoch == epoch {
			return g.Key, true
		}
	}
	return "", false
}

// epochs lists what is open.
func (c Chain) epochs() string {
	names := make([]string, len(c.Groups))
	for i, g := range c.Groups {
		names[i] = fmt.Sprint(g.Epoch)
	}
	return "one of " + strings.Join(names, ", ")
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
	verify := attest.Verify
	if d.chain.Verifier != nil {
		verify = d.chain.Verifier.Verify
	}
	verdict, err := verify(d.Evidence, d.chain.Verify)
	if err != nil {
		var r *vm.Refusal
		if errors.As(err, &r) {
			return verdict, r
		}
		return verdict, vm.Refuse(vm.CodeInternal, "verifying the evidence failed")
	}
	if d.chain.NoHardware {
		return verdict, vm.Refuse(vm.CodeHardware, "the machine is genuine, and the service's policy accepts none now").
			On("hardware id", verdict.HardwareID, "an empty list").Try("another list of hardware may be waiting for the service's upgrade delay")
	}
	return verdict, nil
}

// checkBinding holds the quote to this request and to the config.
func checkBinding(verdict vm.Verdict, want [64]byte, cfg vm.Config) *vm.Refusal {
	if subtle.ConstantTimeCompare(verdict.ReportData, want[:]) != 1 {
		return vm.Refuse(vm.CodeReportData, "the quote was not made for this request").
			On("report_data", fmt.Sprintf("%x", verdict.ReportData), fmt.Sprintf("%x", want))
	}
	id, err := cfg.ConfigID()
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "digest the machine's config: %v", err)
	}
	field, got := "mr_config_id", verdict.Measurement.MRConfigID
	if verdict.SNP != nil {
		field, got = "host_data", vm.Register{}
		copy(got[:], verdict.SNP.HostData[:])
	}
	if got != id {
		return vm.Refuse(vm.CodeConfig, "the machine was launched with another config than it shows").On(field, got.String(), id.String())
	}
	return nil
}

// identify says what of the machine is compared with images. On TDX the events
// must explain RTMR3, and the root hash that they name is returned; on SEV-SNP
// the launch digest has all that boots in it (docs/decisions/0012).
func identify(events []vm.Event, verdict vm.Verdict, cfg vm.Config) (found Identity, root vm.Hash, refusal *vm.Refusal) {
	switch {
	case verdict.SGX != nil:
		return found, root, vm.Refuse(vm.CodeInvalid, "enclaves have no images").On("tee", "sgx", "tdx or snp")
	case verdict.SNP != nil:
		digest, err := cfg.Template().Digest()
		if err != nil {
			return found, root, vm.Refuse(vm.CodeMalformed, "digest the template: %v", err)
		}
		return Identity{Platform: Platform{TEE: vm.SNP, Launch: verdict.SNP.Measurement}, Template: digest}, root, nil
	}
	root, refusal = checkEvents(events, verdict, cfg)
	if refusal != nil {
		return found, root, refusal
	}
	template, err := TemplateRegister(root, cfg)
	if err != nil {
		return found, root, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	m := verdict.Measurement
	return Identity{
		Platform: Platform{TEE: vm.TDX, MRTD: m.MRTD, RTMR0: m.RTMR[0]},
		RTMR1:    m.RTMR[1], RTMR2: m.RTMR[2], RTMR3: template,
	}, root, nil
}
