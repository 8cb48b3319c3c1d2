package chain_test

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// rows are platforms that nobody has: row i has RTMR0 of i+1.
func rows(n int) []types.Platform {
	out := make([]types.Platform, n)
	for i := range out {
		var rtmr0 vm.Register
		binary.BigEndian.PutUint32(rtmr0[:], uint32(i+1))
		out[i] = tdxPlatform(launch.MRTD, rtmr0)
	}
	return out
}

// TestImageOfManyPlatforms: one image covers thousands of shapes; a machine of
// any row is granted, one of none is told what is closest, and reading pages.
func TestImageOfManyPlatforms(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	next := evil(cfg)
	msg := w.image(next)
	msg.Platforms = append(rows(types.MaxPlatforms-1), msg.Platforms...)
	result := w.block(w.sign(w.owner, msg))[0]
	var added types.MsgAddImageResponse
	must(t, chain.Response(result.Data, &added))
	t.Logf("%d platforms took %d gas of %d", len(msg.Platforms), result.GasUsed, types.Gas(msg))
	if g := w.granted(w.release(boot(t, root, next))); g.Image != added.Image {
		t.Errorf("the last row was granted as image %d, want %d", g.Image, added.Image)
	}

	p, err := pki()
	must(t, err)
	events, err := vm.BootEvents(root, next)
	must(t, err)
	at := launch
	at.RTMR[0] = vm.Register{0xff}
	at.MRConfigID, err = next.ConfigID()
	must(t, err)
	refusal := w.refused(w.release(bootWith(t, p, at, next, events)), vm.CodeImage)
	if refusal.Field != "rtmr0" || !strings.Contains(refusal.Reason, fmt.Sprintf("each of its %d platforms", types.MaxPlatforms)) {
		t.Errorf("refusal is %+v, want it to name rtmr0 and how many were compared", refusal)
	}

	q, ctx := queryServer(w)
	var key []byte
	seen := 0
	for page := 0; ; page++ {
		r, err := q.Platforms(ctx, &types.QueryPlatformsRequest{Service: cfg.Service, Image: added.Image, Pagination: &query.PageRequest{Key: key, Limit: 300}})
		must(t, err)
		for _, row := range r.Platforms {
			if want := msg.Platforms[seen]; string(row.Rtmr0) != string(want.Rtmr0) {
				t.Fatalf("row %d is %x, want %x", seen, row.Rtmr0, want.Rtmr0)
			}
			seen++
		}
		if key = r.Pagination.NextKey; key == nil {
			break
		}
	}
	if seen != types.MaxPlatforms {
		t.Errorf("%d rows were listed, want %d", seen, types.MaxPlatforms)
	}
}

// TestK1_ImagesOfPlatforms: rows are whole, of one TEE each, and none is there
// twice; what an image does not compare cannot be written into it.
func TestK1_ImagesOfPlatforms(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	next := evil(cfg)
	for _, tt := range []struct {
		name    string
		change  func(*types.MsgAddImage)
		wantErr vm.Code
	}{
		{"none", func(m *types.MsgAddImage) { m.Platforms = nil }, vm.CodeTooLarge},
		{"too many", func(m *types.MsgAddImage) { m.Platforms = rows(types.MaxPlatforms + 1) }, vm.CodeTooLarge},
		{"TEE that does not protect", func(m *types.MsgAddImage) { m.Platforms[0].Tee = "soft" }, vm.CodeInvalid},
		{"no TEE", func(m *types.MsgAddImage) { m.Platforms[0].Tee = "" }, vm.CodeInvalid},
		{"launch digest on TDX", func(m *types.MsgAddImage) { m.Platforms[0].Launch = launch.MRTD[:] }, vm.CodeInvalid},
		{"long shape", func(m *types.MsgAddImage) { m.Platforms[0].Shape = strings.Repeat("a", 65) }, vm.CodeTooLarge},
		{"same row twice", func(m *types.MsgAddImage) { m.Platforms = append(m.Platforms, m.Platforms[0]) }, vm.CodeInvalid},
		{"SNP without template", func(m *types.MsgAddImage) {
			m.Platforms = []types.Platform{{Tee: "snp", Launch: launch.MRTD[:]}}
			m.Rtmr1, m.Rtmr2, m.Rtmr3, m.RootHash, m.Template = nil, nil, nil, nil, nil
		}, vm.CodeInvalid},
		{"SNP with registers of TDX", func(m *types.MsgAddImage) { m.Platforms = []types.Platform{{Tee: "snp", Launch: launch.MRTD[:]}} }, vm.CodeInvalid},
		{"SNP of zeros", func(m *types.MsgAddImage) {
			m.Platforms = []types.Platform{{Tee: "snp", Launch: make([]byte, 48)}}
			m.Rtmr1, m.Rtmr2, m.Rtmr3 = nil, nil, nil
		}, vm.CodeInvalid},
		{"good, of both", func(m *types.MsgAddImage) {
			m.Platforms = append(m.Platforms, types.Platform{Tee: "snp", Launch: launch.MRTD[:]})
		}, ""},
		{"part of what is there", func(*types.MsgAddImage) {}, vm.CodeExists},
		{"more than what is there", func(m *types.MsgAddImage) { m.Platforms = append(m.Platforms, rows(1)...) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg := w.image(next)
			tt.change(msg)
			if code, text := w.send(w.owner, msg, &types.MsgAddImageResponse{}); code != tt.wantErr {
				t.Fatalf("code is %q (%s), want %q", code, text, tt.wantErr)
			}
		})
	}
}

// snpMachine is a development chip under its own root, on a chain that takes it.
func snpWorld(t *testing.T) (*world, snptest.Machine) {
	t.Helper()
	now := newWorld(t, types.TrustIntel).now // of this second
	chip, err := snptest.Issue(snptest.Plan{Line: snp.Milan, TCB: snp.TCB{Bootloader: 4, SNP: 0x1b, Microcode: 0xdb}, Now: now})
	must(t, err)
	return newWorld(t, types.TrustIntel, pemOf(chip.Root)), chip
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// snpRelease asks for keys with a report that change may spoil before the chip
// signs it.
func (w *world) snpRelease(chip snptest.Machine, m *machine, digest vm.Register, change func(report []byte)) *types.MsgRelease {
	w.t.Helper()
	msg := w.release(m)
	config, err := m.cfg.Digest()
	must(w.t, err)
	about := vm.Release{ChainID: chainID, BlockHash: vm.Hash(msg.BlockHash), InstanceID: msg.VmUid, HPKEKey: msg.HpkeKey, SessionKey: msg.SessionKey}
	data := about.ReportData()
	report := chip.Report()
	copy(report[snptest.ReportData:], data[:])
	copy(report[snptest.HostData:], config[:])
	copy(report[snptest.Measurement:], digest[:])
	if change != nil {
		change(report)
	}
	collateral := chip.Collateral
	must(w.t, msg.SetEvidence(vm.Evidence{TEE: vm.SNP, Quote: chip.Sign(report), AMD: &collateral}))
	return msg
}

// TestReleaseToSNP: the launch digest is the platform, HOST_DATA the config.
func TestReleaseToSNP(t *testing.T) {
	w, chip := snpWorld(t)
	digest := vm.Register{0xd1}
	cfg := w.config()
	w.do(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "web"}, &types.MsgCreateServiceResponse{})
	msg := w.image(cfg)
	msg.Platforms = []types.Platform{{Tee: "snp", Launch: rows(1)[0].Rtmr0}, {Tee: "snp", Launch: digest[:]}}
	msg.Rtmr1, msg.Rtmr2, msg.Rtmr3 = nil, nil, nil
	w.do(w.owner, msg, &types.MsgAddImageResponse{})

	grant := w.granted(w.snpRelease(chip, boot(t, root, cfg), digest, nil))
	if grant.TcbStatus != "UpToDate" || len(grant.HardwareId) != 128 || grant.Tee != string(vm.Soft) {
		t.Errorf("grant is %+v", grant)
	}
	second := cfg
	second.InstanceID = strings.Repeat("7", 32)
	w.granted(w.snpRelease(chip, boot(t, root, second), digest, nil))

	refusal := w.refused(w.snpRelease(chip, boot(t, root, cfg), vm.Register{0xd2}, nil), vm.CodeImage)
	if refusal.Field != "launch digest" {
		t.Errorf("another launch digest: %+v", refusal)
	}
	w.refused(w.snpRelease(chip, boot(t, root, cfg), digest, func(report []byte) { report[snptest.HostData]++ }), vm.CodeConfig)
	w.refused(w.snpRelease(chip, boot(t, root, cfg), digest, func(report []byte) { report[snptest.ReportData]++ }), vm.CodeReportData)
	refusal = w.refused(w.snpRelease(chip, boot(t, root, evil(cfg)), digest, nil), vm.CodeCompose)
	if refusal.Field != "compose_hash" {
		t.Errorf("another compose file: %+v", refusal)
	}
	w.refused(w.release(boot(t, root, cfg)), vm.CodeChain) // the same config on a soft TD, which this chain does not take
	withEvents := w.snpRelease(chip, boot(t, root, cfg), digest, nil)
	withEvents.Events = []types.Event{{Name: vm.EventBootComplete}}
	w.refused(withEvents, vm.CodeEvents)
	relabelled := w.snpRelease(chip, boot(t, root, cfg), digest, nil)
	relabelled.Tee = ""
	if _, refusal, _ := w.decide(relabelled); refusal == nil {
		t.Error("a report was taken for a quote")
	}
}

// TestB5_SNPDebugIsRefused: no policy of a service accepts it.
func TestB5_SNPDebugIsRefused(t *testing.T) {
	w, chip := snpWorld(t)
	cfg := w.config()
	w.do(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "web"}, &types.MsgCreateServiceResponse{})
	w.refused(w.snpRelease(chip, boot(t, root, cfg), launch.MRTD, func(report []byte) {
		policy := binary.LittleEndian.Uint64(report[snptest.Policy:])
		snptest.Put64(report, snptest.Policy, policy|uint64(snp.PolicyDebug))
	}), vm.CodeDebug)
}
