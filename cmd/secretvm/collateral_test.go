package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// TestCollateral runs the stories in testdata/collateral. In each, $PCCS is a
// PCCS that knows the soft machine whose evidence, without collateral, is in
// evidence.json, and says that the next TCB recovery puts it out of date; the
// machine itself answers at $URL. $BROKEN fails whatever it is asked, $FAULTY
// once. $KDS has the certificates of the chip of report.bin, below ark.pem, and
// $RIM one manifest. Where the independent vectors are at hand, $INTEL knows
// the platform of quote.bin, as Intel described it in June 2025; expired.json is
// the same quote with what Intel said in February.
func TestCollateral(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/collateral",
		Setup: func(env *testscript.Env) error {
			m := machinetest.Boot(t)
			m.Write(t, env.WorkDir)
			_, url := m.Serve(t, nil)
			ev, err := m.TEE.Quote([64]byte{1})
			if err != nil {
				return err
			}
			ev.Collateral = nil
			b, err := json.Marshal(ev)
			if err != nil {
				return err
			}
			fmspc := hex.EncodeToString(m.PKI.Platform.FMSPC[:])
			known, broken, faulty := endorsementtest.Start(t), endorsementtest.Start(t), endorsementtest.Start(t)
			for _, s := range []*endorsementtest.Services{known, faulty} {
				if err := serveRecovery(s, m.PKI, fmspc); err != nil {
					return err
				}
			}
			broken.Fail(endorsementtest.Fault{Status: 503, RetryAfter: "600"})
			faulty.Fail(endorsementtest.Fault{Status: 429, RetryAfter: "1", Times: 1})
			env.Setenv("FMSPC", fmspc)
			env.Setenv("URL", url)
			env.Setenv("PCCS", known.URL)
			env.Setenv("BROKEN", broken.URL)
			env.Setenv("FAULTY", faulty.URL)
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			if err := os.WriteFile(filepath.Join(env.WorkDir, "evidence.json"), b, 0o600); err != nil {
				return err
			}
			if url, err = serveReal(t, env.WorkDir); err != nil {
				return err
			}
			env.Setenv("INTEL", url)
			env.Setenv("KDS", known.URL)
			env.Setenv("RIM", known.URL)
			known.PutRIM(t, "NV_GPU_DRIVER_GH100_999.01.02", []byte("<SoftwareIdentity/>"))
			return serveAMD(known, env.WorkDir)
		},
		Condition: func(name string) (bool, error) {
			_, err := os.Stat(realCollateral)
			return name == "vectors" && err == nil, nil
		},
		Cmds: scriptCommands,
	})
}

// serveRecovery serves what Intel would have before a recovery that the
// platform of pki does not survive.
func serveRecovery(s *endorsementtest.Services, pki *emulator.PKI, fmspc string) error {
	for choice, change := range map[string]func(*emulator.Plan){
		"": func(p *emulator.Plan) {
			p.TCBInfo.TCBEvaluationDataNumber, p.QEIdentity.TCBEvaluationDataNumber = 19, 19
		},
		"update=early": func(p *emulator.Plan) {
			p.TCBInfo.TCBEvaluationDataNumber, p.QEIdentity.TCBEvaluationDataNumber = 20, 20
			demand, old := p.TCBInfo.TCBLevels[0], p.TCBInfo.TCBLevels[0]
			demand.TCB.PCESVN++
			old.TCBStatus, old.AdvisoryIDs = collateral.OutOfDate, []string{"INTEL-SA-09999"}
			p.TCBInfo.TCBLevels = []collateral.TCBLevel{demand, old}
		},
	} {
		plan := emulator.DefaultPlan(time.Now())
		change(&plan)
		c, err := pki.Issue(plan)
		if err != nil {
			return err
		}
		s.PutIntel("tdx", fmspc, "platform", choice, c)
	}
	return nil
}

const (
	realQuote      = "../../../shared/vectors/dcap-qvl/sample/tdx_quote"
	oldCollateral  = "../../../shared/vectors/secret-vm-kms/tests/collateral.txt"
	realCollateral = "../../../shared/vectors/dcap-qvl/sample/tdx_quote_collateral.json"
)

// serveAMD serves what KDS has of a Genoa chip, and leaves its report and its
// root in dir.
func serveAMD(s *endorsementtest.Services, dir string) error {
	m, err := snptest.Issue(snptest.Plan{Line: snp.Genoa, Now: time.Now(), TCB: snp.TCB{Bootloader: 250, TEE: 250, SNP: 250, Microcode: 255}})
	if err != nil {
		return err
	}
	s.Put(fmt.Sprintf("/vcek/v1/Genoa/%x?blSPL=250&teeSPL=250&snpSPL=250&ucodeSPL=255", m.ChipID), "application/pkix-cert", m.Collateral.EndorsementKey)
	for _, endorser := range []string{"vcek", "vlek"} {
		s.Put("/"+endorser+"/v1/Genoa/cert_chain", "application/x-pem-file", m.Collateral.Chain)
		s.Put("/"+endorser+"/v1/Genoa/crl", "application/pkix-crl", m.Collateral.CRL)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "report.bin"), m.Sign(m.Report()), 0o600),
		os.WriteFile(filepath.Join(dir, "ark.pem"), snptest.Bundle(m.Root), 0o600),
	)
}

// serveReal serves a real platform as a PCCS does, and leaves its quote in dir.
func serveReal(t *testing.T, dir string) (url string, err error) {
	s := endorsementtest.Start(t)
	b, err := os.ReadFile(realCollateral)
	if errors.Is(err, fs.ErrNotExist) {
		return s.URL, nil // the stories skip what needs it
	}
	if err != nil {
		return "", err
	}
	c, err := verification.ParseCollateral(b)
	if err != nil {
		return "", err
	}
	s.PutIntel("tdx", "b0c06f000000", "platform", "", *c)
	quote, err := os.ReadFile(realQuote)
	if err != nil {
		return "", err
	}
	blob, err := os.ReadFile(oldCollateral)
	if err != nil {
		return "", err
	}
	old, err := verification.ParseCollateral(blob)
	if err != nil {
		return "", err
	}
	expired, err := json.Marshal(vm.Evidence{TEE: vm.TDX, Quote: quote, Collateral: old})
	return s.URL, errors.Join(err, os.WriteFile(filepath.Join(dir, "quote.bin"), quote, 0o600),
		os.WriteFile(filepath.Join(dir, "expired.json"), expired, 0o600))
}
