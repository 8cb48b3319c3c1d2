package verification

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// WriteFacts writes everything that was learnt of a genuine machine, whole and
// event by event. It writes nothing where nothing is genuine.
func (r Report) WriteFacts(w io.Writer) error {
	if r.Machine == nil {
		return nil
	}
	var b strings.Builder
	m := r.Machine
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "   %-16s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	b.WriteString("\nWhat the evidence proves:\n")
	row("judged at", "%s, valid until %s", r.Time.UTC().Format(time.RFC3339), m.ValidUntil.UTC().Format(time.RFC3339))
	row("trust anchor", "%s, sha256 %s", m.Anchor.Subject, m.Anchor.SHA256)
	row("TCB", "%s%s", m.TCBStatus, advisories(m.Advisories))
	if m.FMSPC != "" {
		row("FMSPC", "%s", m.FMSPC)
	}
	row("hardware id", "%s", or(m.HardwareID, "none: the evidence does not name the platform"))
	row("report data", "%s", hex.EncodeToString(m.ReportData))
	switch {
	case m.SNP != nil:
		factsOfSNP(row, m.SNP)
	case m.SGX != nil:
		row("MRENCLAVE", "%s", m.SGX.MREnclave)
		row("MRSIGNER", "%s", m.SGX.MRSigner)
	default:
		factsOfTDX(row, m)
	}
	for _, g := range m.GPUs {
		row(g.Kind, "%s %s %s, id %s, driver %s, firmware %s", g.Architecture, g.Model, g.SKU, g.HardwareID, g.Driver, g.Firmware)
	}
	if len(m.BootLog) > 0 {
		b.WriteString("\nBoot log, explained by the registers (≟: the machine's word, = proven by the digest):\n")
		for _, e := range m.BootLog {
			sign := "≟"
			if e.Proven {
				sign = "="
			}
			fmt.Fprintf(&b, "   RTMR%d  %s  %-14s %s %s\n", e.Register, e.Digest.String()[:16], printable(e.Name), sign, printable(e.Description))
		}
	}
	if len(r.Application) > 0 {
		b.WriteString("\nThe application's log since the boot, service first:\n")
		for _, e := range r.Application {
			fmt.Fprintf(&b, "   %-24s %s\n", printable(e.Name), printable(payload(e.Payload)))
		}
	}
	if len(m.Events) > 0 {
		b.WriteString("\nEvents of RTMR3, in order:\n")
		for _, e := range m.Events {
			fmt.Fprintf(&b, "   %s  %-18s %s\n", e.Digest.String()[:16], printable(e.Name), printable(payload(e.Payload)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type rowWriter func(name, format string, args ...any)

func factsOfTDX(row rowWriter, m *vm.Verdict) {
	row("MRTD", "%s", m.Measurement.MRTD)
	for i, r := range m.Measurement.RTMR {
		row(fmt.Sprintf("RTMR%d", i), "%s", r)
	}
	row("MR_CONFIG_ID", "%s", m.Measurement.MRConfigID)
	row("TD attributes", "%#016x", m.Attributes)
	row("XFAM", "%#x", m.XFAM)
}

func factsOfSNP(row rowWriter, s *vm.SNPFacts) {
	row("product", "%s, report version %d, signed by the %s", s.Product, s.Version, s.SignedBy)
	row("MEASUREMENT", "%s", s.Measurement)
	row("HOST_DATA", "%s", s.HostData)
	row("guest policy", "%#x %s", s.Policy, snp.GuestPolicy(s.Policy))
	row("platform", "%#x %s", s.PlatformInfo, snp.PlatformInfo(s.PlatformInfo))
	row("VMPL, guest SVN", "%d, %d", s.VMPL, s.GuestSVN)
	row("family, image", "%s, %s", id(s.FamilyID), id(s.ImageID))
	row("ID key", "%s", s.IDKey)
	row("author key", "%s", s.AuthorKey)
	row("TCB versions", "reported %#016x, current %#016x, committed %#016x, launch %#016x", s.ReportedTCB, s.CurrentTCB, s.CommittedTCB, s.LaunchTCB)
}

// id shows 16 bytes that are often text.
func id(b [16]byte) string {
	if text := strings.TrimRight(string(b[:]), "\x00"); text != "" && text == printable(text) {
		return fmt.Sprintf("%q", text)
	}
	return hex.EncodeToString(b[:])
}

// payload shows text as text and everything else in hex.
func payload(b []byte) string {
	if text := string(b); len(b) > 0 && text == printable(text) {
		return fmt.Sprintf("%q", text)
	}
	return hex.EncodeToString(b)
}
