package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

const day = 24 * time.Hour

// Apply writes the policy's wishes into w. read returns the bytes of a file
// that the policy names, by its path as it stands there.
func (p Policy) Apply(w *verification.Wanted, read func(path string) ([]byte, error)) (err error) {
	file := func(path string) (b []byte) {
		if path == "" || err != nil {
			return nil
		}
		b, err = read(path)
		return b
	}
	if b := file(p.Workload.Compose); b != nil {
		w.Compose = b
	}
	if b := file(p.Workload.Files); b != nil {
		w.Files = b
	}
	if b := file(p.Image.Manifest); b != nil {
		m, err := vm.ParseManifest(b)
		if err != nil {
			return fmt.Errorf("image.manifest %s: %w", p.Image.Manifest, err)
		}
		w.Manifest = &m
	}
	for _, path := range p.TrustRoots {
		roots, rootErr := verification.ParseRoots(file(path))
		if err == nil && rootErr != nil {
			err = fmt.Errorf("trust_roots %s: %w", path, rootErr)
		}
		w.Roots = append(w.Roots, roots...)
	}
	if err != nil {
		return err
	}
	var known [][]byte
	for _, path := range p.Image.Registry {
		known = append(known, file(path))
	}
	if known != nil && err == nil {
		if w.Registry, err = peer.ParseRegistry(known...); err != nil {
			err = fmt.Errorf("image.registry: %w", err)
		}
	}
	w.Policy.GPU = p.GPU.policy(file)
	if err != nil {
		return err
	}
	w.Service, w.GroupKey = p.Workload.Service, strings.ToLower(p.Workload.KMS)
	p.applyWishes(&w.Wishes)
	p.applyPlatform(w)
	return nil
}

func (p Policy) applyWishes(w *verification.Wishes) {
	w.ComposeHash, w.FilesHash, w.RootHash = p.Workload.ComposeHash, p.Workload.FilesHash, p.Image.RootHash
	w.Launch, w.HostData, w.TEEs = p.Image.Launch, p.Workload.HostData, p.Machine.TEE
	for _, r := range p.Image.Registers {
		w.Registers = append(w.Registers, verification.Registers{MRTD: *r.MRTD, RTMR0: *r.RTMR0, RTMR1: *r.RTMR1, RTMR2: *r.RTMR2, RTMR3: r.RTMR3})
	}
	w.Dev = p.Image.Dev
	w.Fresh, w.MaxAge = p.Freshness.Required, time.Duration(p.Freshness.MaxAge)
}

func (p Policy) applyPlatform(w *verification.Wanted) {
	w.Policy.Accept, w.Policy.Advisories = p.TCB.Accept, p.TCB.Advisories
	w.Policy.Grace, w.Policy.MinEvaluation = time.Duration(p.TCB.GraceDays)*day, p.TCB.MinEvaluation
	w.Policy.Hardware = p.Machine.Hardware
	w.Policy.Attributes, w.Policy.XFAM, w.Policy.SEPTVE = uint64(p.Machine.TDAttributes), uint64(p.Machine.XFAM), p.Machine.SEPTVE
	w.Policy.SNP = p.SNP.policy()
	w.Policy.StaleCollateral = time.Duration(p.Collateral.StaleDays) * day
}
