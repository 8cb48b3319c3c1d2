package types

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

// ID returns the key that k names.
func (k KeyID) ID() keys.ID {
	return keys.ID{Service: k.Service, Scope: k.Scope, Name: k.Name, Epoch: k.Epoch}
}

// FromIDs makes the state's form of key IDs.
func FromIDs(ids []keys.ID) []KeyID {
	out := make([]KeyID, len(ids))
	for i, id := range ids {
		out[i] = KeyID{Service: id.Service, Scope: id.Scope, Name: id.Name, Epoch: id.Epoch}
	}
	return out
}

// IDs returns the keys that the grant is for.
func (g *Grant) IDs() []keys.ID { return toIDs(g.Keys) }

func toIDs(named []KeyID) []keys.ID {
	out := make([]keys.ID, len(named))
	for i, k := range named {
		out[i] = k.ID()
	}
	return out
}

// Evidence returns what attest.Verify reads. The digests of the events are
// recomputed: a message cannot carry others.
func (m *MsgRelease) Evidence() vm.Evidence {
	ev := vm.Evidence{TEE: vm.TDX, Quote: m.Quote, Events: m.RuntimeEvents()}
	if m.Tee != "" {
		ev.TEE = vm.TEE(m.Tee)
	}
	if c := m.Amd; c != nil {
		ev.AMD = &vm.AMDCollateral{EndorsementKey: c.EndorsementKey, Chain: c.Chain, CRL: c.Crl}
	}
	if c := m.Collateral; c != nil {
		ev.Collateral = &vm.Collateral{
			PCKCRL: c.PckCrl, PCKCRLChain: c.PckCrlChain, RootCACRL: c.RootCaCrl, TCBInfo: c.TcbInfo,
			TCBInfoChain: c.TcbInfoChain, QEIdentity: c.QeIdentity, QEIdentityChain: c.QeIdentityChain,
		}
	}
	if g := m.Gpu; g != nil {
		ev.GPU = &vm.GPUEvidence{Nonce: g.Nonce, RIMs: g.Rims, OCSP: g.Ocsp}
		for _, d := range g.Devices {
			ev.GPU.Devices = append(ev.GPU.Devices, vm.GPUDevice{Kind: d.Kind, Evidence: d.Evidence, CertChain: d.CertChain})
		}
	}
	return ev
}

// RuntimeEvents returns the message's event list.
func (m *MsgRelease) RuntimeEvents() []vm.Event {
	events := make([]vm.Event, len(m.Events))
	for i, e := range m.Events {
		events[i] = vm.RuntimeEvent(e.Name, e.Payload)
	}
	return events
}

// SetEvidence fills the message from evidence. Launch events, which are not
// runtime events, cannot be carried and are an error.
func (m *MsgRelease) SetEvidence(ev vm.Evidence) error {
	m.Quote, m.Tee, m.Amd, m.Gpu = ev.Quote, string(ev.TEE), nil, nil
	if g := ev.GPU; g != nil {
		m.Gpu = &GPUEvidence{Nonce: g.Nonce, Rims: g.RIMs, Ocsp: g.OCSP}
		for _, d := range g.Devices {
			m.Gpu.Devices = append(m.Gpu.Devices, GPUDevice{Kind: d.Kind, Evidence: d.Evidence, CertChain: d.CertChain})
		}
	}
	if c := ev.AMD; c != nil {
		m.Amd = &AMDCollateral{EndorsementKey: c.EndorsementKey, Chain: c.Chain, Crl: c.CRL}
	}
	m.Events = make([]Event, len(ev.Events))
	for i, e := range ev.Events {
		if err := e.CheckRuntime(); err != nil {
			return vm.Refuse(vm.CodeEvents, "read evidence: %v", err)
		}
		m.Events[i] = Event{Name: e.Name, Payload: e.Payload}
	}
	m.Collateral = nil
	if c := ev.Collateral; c != nil {
		m.Collateral = &Collateral{
			PckCrl: c.PCKCRL, PckCrlChain: c.PCKCRLChain, RootCaCrl: c.RootCACRL, TcbInfo: c.TCBInfo,
			TcbInfoChain: c.TCBInfoChain, QeIdentity: c.QEIdentity, QeIdentityChain: c.QEIdentityChain,
		}
	}
	return nil
}

// Refusal returns r as package vm knows it.
func (r *Refusal) Refusal() *vm.Refusal {
	return &vm.Refusal{Code: vm.Code(r.Code), Field: r.Field, Found: r.Found, Wanted: r.Wanted, Reason: r.Reason, Hint: r.Hint}
}

// Decision returns the image as package decision compares it.
func (i *Image) Decision() (decision.Image, error) {
	out := decision.Image{Index: i.Index, ActiveAt: i.ActiveAt, RevokedAt: i.RevokedAt}
	copy(out.RTMR1[:], i.Rtmr1)
	copy(out.RTMR2[:], i.Rtmr2)
	copy(out.RTMR3[:], i.Rtmr3)
	if len(i.Template) == 0 {
		return out, nil
	}
	cfg, err := vm.ParseConfig(i.Template)
	if err != nil {
		return out, fmt.Errorf("template of image %d: %w", i.Index, err)
	}
	copy(out.RootHash[:], i.RootHash)
	out.Template = &cfg
	return out, nil
}

// Decision returns the platform as package decision compares it.
func (p *Platform) Decision() decision.Platform {
	out := decision.Platform{TEE: vm.TEE(p.Tee)}
	copy(out.MRTD[:], p.Mrtd)
	copy(out.RTMR0[:], p.Rtmr0)
	copy(out.Launch[:], p.Launch)
	return out
}

// SealedDigest names sealed content: SHA-256 over epoch (u64 BE) and ciphertext.
func SealedDigest(epoch uint64, ciphertext []byte) []byte {
	digest := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, epoch), ciphertext...))
	return digest[:]
}

// Request returns the release as package decision reads it.
func (m *MsgRelease) Request() decision.Request {
	r := decision.Request{
		Service: m.Service, InstanceID: m.VmUid, HPKEKey: m.HpkeKey, SessionKey: m.SessionKey,
		Height: m.Height, Config: m.Config, Evidence: m.Evidence(), Keys: toIDs(m.Keys),
	}
	copy(r.BlockHash[:], m.BlockHash)
	return r
}
