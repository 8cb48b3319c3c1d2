package chain_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

const (
	day  = 24 * 60 * 60
	week = 7 * day
)

// do sends a message that must succeed.
func (w *world) do(from signer.Account, msg sdk.Msg, into proto.Message) {
	w.t.Helper()
	if code, text := w.send(from, msg, into); code != "" {
		w.t.Fatalf("%T: %s %s", msg, code, text)
	}
}

// fails sends a message that must be refused.
func (w *world) fails(from signer.Account, msg sdk.Msg, want vm.Code) {
	w.t.Helper()
	if code, text := w.send(from, msg, nil); code != want {
		w.t.Fatalf("%T: code is %q (%s), want %s", msg, code, text, want)
	}
}

// pass lets time go by.
func (w *world) pass(seconds int64) {
	w.t.Helper()
	w.now = w.now.Add(time.Duration(seconds) * time.Second)
	w.block()
	w.block() // records an anchor of now
}

// guarded is a service whose changes wait a week, with one image.
func (w *world) guarded() vm.Config {
	w.t.Helper()
	cfg := w.service()
	w.do(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: types.Policy{UpgradeDelay: week}}, &types.MsgSetPolicyResponse{})
	return cfg
}

// evil is the same service's config with another workload.
func evil(cfg vm.Config) vm.Config {
	cfg.ComposeHash = vm.HashOf([]byte("evil"))
	return cfg
}

func queryServer(w *world) (types.QueryServer, sdk.Context) {
	w.t.Helper()
	ctx, err := w.app.Read()
	must(w.t, err)
	return kms.NewQueryServer(w.app.KMS), ctx
}

// TestK6_MaliciousImageIsVisibleBeforeItGetsAKey: who has stolen the owner's key
// can add an image, and everybody sees it for as long as the service's delay
// before it gets a key; the delay cannot be lowered faster.
func TestK6_MaliciousImageIsVisibleBeforeItGetsAKey(t *testing.T) {
	w := softWorld(t)
	cfg := w.guarded()
	bad := evil(cfg)

	// The thief lowers the delay first; that waits as long as the image does.
	var policy types.MsgSetPolicyResponse
	w.do(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service}, &policy)
	if policy.Policy.UpgradeDelay != week || policy.Pending == nil || policy.Pending.ActiveAt != w.now.Unix()+week {
		t.Fatalf("the delay was lowered: %+v", policy)
	}
	var added types.MsgAddImageResponse
	w.do(w.owner, w.image(bad), &added)
	if added.ActiveAt != w.now.Unix()+week {
		t.Fatalf("the image is active at %d, want a week from now", added.ActiveAt)
	}

	// Everybody sees it: in the list of images and in the history.
	q, ctx := queryServer(w)
	images, err := q.Images(ctx, &types.QueryImagesRequest{Service: cfg.Service})
	must(t, err)
	if len(images.Images) != 2 || images.Images[0].State != types.StateActive || images.Images[1].State != types.StatePending {
		t.Fatalf("images are %+v", images.Images)
	}
	changes, err := q.Changes(ctx, &types.QueryChangesRequest{Service: cfg.Service})
	must(t, err)
	last := changes.Changes[len(changes.Changes)-1]
	if last.Kind != types.ChangeAdd || last.Image != added.Image || last.ActiveAt != added.ActiveAt || last.By != w.owner.Address {
		t.Errorf("the history ends with %+v", last)
	}

	// It gets nothing until then; the image of before does.
	refusal := w.refused(w.release(boot(t, root, bad)), vm.CodePending)
	if refusal.Wanted != time.Unix(added.ActiveAt, 0).UTC().Format(time.RFC3339) {
		t.Errorf("refusal is %+v, want it to say from when on", refusal)
	}
	w.pass(week - 10)
	w.refused(w.release(boot(t, root, bad)), vm.CodePending)
	now, err := w.app.Read()
	must(t, err)
	if _, kept, err := w.app.KMS.Log(now, cfg.Service, 1); err != nil || len(kept) != 1 || kept[0].Count != 2 {
		t.Errorf("a machine that waits is not counted, and drives out other refusals: %+v, %v", kept, err)
	}
	w.granted(w.release(boot(t, root, cfg)))

	// Who notices in time revokes it: at once and for ever.
	w.do(w.owner, &types.MsgRevokeImage{Owner: w.owner.Address, Service: cfg.Service, Image: added.Image, Reason: "not ours"}, &types.MsgRevokeImageResponse{})
	w.pass(week)
	w.refused(w.release(boot(t, root, bad)), vm.CodeRetired)
	w.fails(w.owner, &types.MsgRevokeImage{Owner: w.owner.Address, Service: cfg.Service, Image: added.Image}, vm.CodeExists)
}

// TestK6_AnnouncedImageIsActiveInTime: the same image, had it been the owner's.
func TestK6_AnnouncedImageIsActiveInTime(t *testing.T) {
	w := softWorld(t)
	cfg := w.guarded()
	next := evil(cfg)
	w.do(w.owner, w.image(next), &types.MsgAddImageResponse{})
	w.pass(week)
	if g := w.granted(w.release(boot(t, root, next))); g.Image != 1 {
		t.Errorf("granted as image %d, want 1", g.Image)
	}
	// Revoked and added again, it waits again.
	w.do(w.owner, &types.MsgRevokeImage{Owner: w.owner.Address, Service: cfg.Service, Image: 1}, &types.MsgRevokeImageResponse{})
	w.refused(w.release(boot(t, root, next)), vm.CodeRetired)
	w.do(w.owner, w.image(next), &types.MsgAddImageResponse{})
	w.refused(w.release(boot(t, root, next)), vm.CodePending)
	w.pass(week)
	if g := w.granted(w.release(boot(t, root, next))); g.Image != 2 {
		t.Errorf("granted as image %d, want 2", g.Image)
	}
}

// TestK6_FrozenServicesCannotBeTouched: the list of images never grows again,
// the policy never becomes looser, the environment stays.
func TestK6_FrozenServicesCannotBeTouched(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	w.do(w.owner, &types.MsgFreeze{Owner: w.owner.Address, Service: cfg.Service}, &types.MsgFreezeResponse{})
	w.fails(w.owner, &types.MsgFreeze{Owner: w.owner.Address, Service: cfg.Service}, vm.CodeExists)
	w.fails(w.owner, w.image(evil(cfg)), vm.CodeFrozen)
	w.fails(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: types.Policy{Grace: 1}}, vm.CodeFrozen)
	w.fails(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: "env", Ciphertext: []byte("x")}, vm.CodeFrozen)
	w.pass(week)
	w.fails(w.owner, w.image(evil(cfg)), vm.CodeFrozen)

	// Another owner is bound by it too.
	w.do(w.owner, &types.MsgTransfer{Owner: w.owner.Address, Service: cfg.Service, To: w.other.Address}, &types.MsgTransferResponse{})
	msg := w.image(evil(cfg))
	msg.Owner = w.other.Address
	w.fails(w.other, msg, vm.CodeFrozen)

	// It works as before, and what takes away is allowed.
	w.granted(w.release(boot(t, root, cfg)))
	w.do(w.other, &types.MsgSetPolicy{Owner: w.other.Address, Service: cfg.Service, Policy: types.Policy{MaxEvidenceAge: 60}}, &types.MsgSetPolicyResponse{})
	w.do(w.other, &types.MsgSeal{Owner: w.other.Address, Service: cfg.Service, Name: "registry", Ciphertext: []byte("x")}, &types.MsgSealResponse{})
	w.do(w.other, &types.MsgRevokeImage{Owner: w.other.Address, Service: cfg.Service}, &types.MsgRevokeImageResponse{})
	w.refused(w.release(boot(t, root, cfg)), vm.CodeRetired)
}

// TestK6_LooserPoliciesWait: a thief cannot let machines on weaker platforms in,
// and cannot mix what is stricter with what is looser to that end.
func TestK6_LooserPoliciesWait(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	set := func(p types.Policy) types.MsgSetPolicyResponse {
		t.Helper()
		var r types.MsgSetPolicyResponse
		w.do(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: p}, &r)
		return r
	}
	mine := types.Policy{UpgradeDelay: week, Hardware: &types.Hardware{Ids: []string{"AA", "bb"}}, MinEvaluation: 17}
	if r := set(mine); r.Pending != nil || strings.Join(r.Policy.Hardware.Ids, " ") != "aa bb" {
		t.Fatalf("a stricter policy waits: %+v", r)
	}
	r := set(types.Policy{UpgradeDelay: 0, Hardware: &types.Hardware{Ids: []string{"bb", "cc"}}, MinEvaluation: 18, TcbStatuses: []string{"OutOfDate", "UpToDate"}, Grace: day})
	if p := r.Policy; p.UpgradeDelay != week || strings.Join(p.Hardware.Ids, " ") != "bb" || p.MinEvaluation != 18 || len(p.TcbStatuses) != 0 || p.Grace != 0 {
		t.Errorf("in force is %+v, want what both policies accept", p)
	}
	if p := r.Pending; p == nil || p.ActiveAt != w.now.Unix()+week || p.Policy.Grace != day || strings.Join(p.Policy.TcbStatuses, " ") != "OutOfDate" {
		t.Errorf("pending is %+v", p)
	}
	q, ctx := queryServer(w)
	before, err := q.Service(ctx, &types.QueryServiceRequest{Service: cfg.Service})
	must(t, err)
	w.pass(week)
	q, ctx = queryServer(w)
	after, err := q.Service(ctx, &types.QueryServiceRequest{Service: cfg.Service})
	must(t, err)
	if before.Policy.Grace != 0 || after.Policy.Grace != day || after.Policy.UpgradeDelay != 0 {
		t.Errorf("in force was %+v, and is %+v after a week", before.Policy, after.Policy)
	}
	// Nothing waits any more.
	if r := set(types.Policy{}); r.Pending != nil || r.Policy.Hardware != nil {
		t.Errorf("without a delay: %+v", r)
	}
}

// TestPolicyDecides: the policy in force is what evidence is judged by.
func TestPolicyDecides(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	set := func(p types.Policy) {
		t.Helper()
		w.do(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: p}, &types.MsgSetPolicyResponse{})
	}
	set(types.Policy{Hardware: &types.Hardware{Ids: []string{"aa"}}})
	w.refused(w.release(boot(t, root, cfg)), vm.CodeHardware)
	set(types.Policy{Hardware: &types.Hardware{}})
	w.refused(w.release(boot(t, root, cfg)), vm.CodeHardware)
	set(types.Policy{MinEvaluation: 1 << 20})
	w.refused(w.release(boot(t, root, cfg)), vm.CodeCollateral)
	set(types.Policy{MaxEvidenceAge: 20})
	msg := w.release(boot(t, root, cfg))
	w.now = w.now.Add(time.Minute)
	w.refused(msg, vm.CodeStale)
	set(types.Policy{})
	grant := w.granted(w.release(boot(t, root, cfg)))
	if grant.Tee != string(vm.Soft) {
		t.Errorf("grant says TEE %q", grant.Tee)
	}
	for _, p := range []types.Policy{
		{TcbStatuses: []string{"Revoked"}},
		{TcbStatuses: []string{"Fine"}},
		{UpgradeDelay: types.MaxDelay + 1},
		{Grace: types.MaxDelay + 1},
		{Advisories: []string{"x\n"}},
		{Hardware: &types.Hardware{Ids: []string{"xyz"}}},
		{Hardware: &types.Hardware{Ids: []string{""}}},
	} {
		w.fails(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: p}, vm.CodeInvalid)
	}
	w.fails(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: types.Policy{Hardware: &types.Hardware{Ids: make([]string, 129)}}}, vm.CodeTooLarge)
}

// TestK5_OwnersMessagesAreTheOwners: nobody else changes a service, whatever way.
func TestK5_OwnersMessagesAreTheOwners(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	thief := w.other.Address
	theirs := w.image(evil(cfg))
	theirs.Owner = thief
	for _, msg := range []sdk.Msg{
		theirs,
		&types.MsgRevokeImage{Owner: thief, Service: cfg.Service},
		&types.MsgSetPolicy{Owner: thief, Service: cfg.Service},
		&types.MsgFreeze{Owner: thief, Service: cfg.Service},
		&types.MsgSeal{Owner: thief, Service: cfg.Service, Name: "env", Ciphertext: []byte("x")},
		&types.MsgTransfer{Owner: thief, Service: cfg.Service, To: thief},
		&types.MsgAcceptRollback{Owner: thief, Service: cfg.Service, VmUid: uid},
		&types.MsgUpdateParams{Authority: thief, Params: types.DefaultParams()},
	} {
		w.fails(w.other, msg, vm.CodePermission)
	}
	// After a transfer the old owner is nobody, and cannot take the name again.
	w.do(w.owner, &types.MsgTransfer{Owner: w.owner.Address, Service: cfg.Service, To: thief}, &types.MsgTransferResponse{})
	w.fails(w.owner, &types.MsgFreeze{Owner: w.owner.Address, Service: cfg.Service}, vm.CodePermission)
	w.fails(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "web"}, vm.CodeExists)
	q, ctx := queryServer(w)
	for owner, want := range map[string]int{w.owner.Address: 0, thief: 1, "": 1} {
		r, err := q.Services(ctx, &types.QueryServicesRequest{Owner: owner})
		must(t, err)
		if len(r.Services) != want {
			t.Errorf("owner %q has %d services, want %d", owner, len(r.Services), want)
		}
	}
	w.granted(w.release(boot(t, root, cfg))) // under the same keys
}

// TestSealedGoesWithGrants: what the owner sealed is named by the grant; a change
// waits, taking away does not, and an old grant does not get the new one.
func TestSealedGoesWithGrants(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	seal := func(name, text string) int64 {
		t.Helper()
		var r types.MsgSealResponse
		w.do(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: name, Ciphertext: []byte(text)}, &r)
		return r.ActiveAt
	}
	seal("env", "one")
	seal("registry", "password")
	first := w.granted(w.release(boot(t, root, cfg)))
	check := func(g *types.Grant, wantEnv, wantRegistry string) {
		t.Helper()
		ctx, err := w.app.Read()
		must(t, err)
		env, registry, err := w.app.KMS.Granted(ctx, *g)
		must(t, err)
		if string(env.GetCiphertext()) != wantEnv || string(registry.GetCiphertext()) != wantRegistry {
			t.Errorf("sealed are %q and %q, want %q and %q", env.GetCiphertext(), registry.GetCiphertext(), wantEnv, wantRegistry)
		}
	}
	check(first, "one", "password")
	if !bytes.Equal(first.Env, types.SealedDigest(0, []byte("one"))) {
		t.Errorf("the grant names %x", first.Env)
	}

	w.do(w.owner, &types.MsgSetPolicy{Owner: w.owner.Address, Service: cfg.Service, Policy: types.Policy{UpgradeDelay: day}}, &types.MsgSetPolicyResponse{})
	if at := seal("env", "two"); at != w.now.Unix()+day {
		t.Errorf("the new environment is active at %d, want in a day", at)
	}
	check(w.granted(w.release(boot(t, root, cfg))), "one", "password")
	w.pass(day)
	check(w.granted(w.release(boot(t, root, cfg))), "two", "password")

	seal("registry", "")
	last := w.granted(w.release(boot(t, root, cfg)))
	check(last, "two", "")
	ctx, err := w.app.Read()
	must(t, err)
	if _, _, err := w.app.KMS.Granted(ctx, *first); err == nil {
		t.Error("an old grant goes without the credentials that it names")
	}
	w.fails(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: "registry"}, vm.CodeInvalid)
	w.fails(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: "disk", Ciphertext: []byte("x")}, vm.CodeInvalid)
	w.fails(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: "env", Epoch: 7, Ciphertext: []byte("x")}, vm.CodeInvalid)
	w.fails(w.owner, &types.MsgSeal{Owner: w.owner.Address, Service: cfg.Service, Name: "env", Ciphertext: make([]byte, types.MaxCiphertext+1)}, vm.CodeTooLarge)
}

// TestD4_OwnerAcceptsRollback: only the owner can, only downwards, and the
// machine of before cannot go on as if nothing had happened.
func TestD4_OwnerAcceptsRollback(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	m := boot(t, root, cfg)
	grant := w.granted(w.release(m))
	advance := func(generation uint64) *types.MsgAdvance {
		return &types.MsgAdvance{
			Relay: w.relay.Address, Grant: grant.Id, Generation: generation,
			Signature: ed25519.Sign(m.session, keys.AdvanceMessage(chainID, [32]byte(grant.Id), generation)),
		}
	}
	for generation := uint64(1); generation <= 3; generation++ {
		w.do(w.relay, advance(generation), &types.MsgAdvanceResponse{})
	}
	accept := func(generation uint64) *types.MsgAcceptRollback {
		return &types.MsgAcceptRollback{Owner: w.owner.Address, Service: cfg.Service, VmUid: uid, Generation: generation}
	}
	w.fails(w.owner, accept(3), vm.CodeInvalid)
	w.fails(w.owner, accept(4), vm.CodeInvalid)
	var accepted types.MsgAcceptRollbackResponse
	w.do(w.owner, accept(1), &accepted)
	if accepted.From != 3 {
		t.Errorf("accepted from %d, want 3", accepted.From)
	}
	w.fails(w.relay, advance(2), vm.CodeStale)
	w.fails(w.relay, advance(4), vm.CodeStale)
	if g := w.granted(w.release(boot(t, root, cfg))); g.Generation != 1 {
		t.Errorf("the next grant says generation %d, want 1", g.Generation)
	}
	q, ctx := queryServer(w)
	r, err := q.Instance(ctx, &types.QueryInstanceRequest{Service: cfg.Service, VmUid: uid})
	must(t, err)
	if b := r.Instance.Rollback; b == nil || b.From != 3 || b.To != 1 {
		t.Errorf("the ledger says %+v of the rollback", b)
	}
	unknown := accept(0)
	unknown.VmUid = strings.Repeat("5", 32)
	w.fails(w.owner, unknown, vm.CodeInvalid)
}
