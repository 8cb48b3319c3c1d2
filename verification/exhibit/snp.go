package exhibit

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

func snpSections(ev vm.Evidence) []Section {
	s := Section{Title: fmt.Sprintf("SEV-SNP attestation report, %d bytes", len(ev.Quote))}
	r, err := snp.Decode(ev.Quote)
	if err != nil {
		s.unread("report", err)
		return []Section{s}
	}
	product, known := r.CPU.Product()
	name := string(product)
	if known != nil || r.Version < 3 {
		name = "not said by this version"
	}
	s.remark("version", fmt.Sprint(r.Version), "product %s", name)
	s.remark("MEASUREMENT", r.Measurement.String(), "launch digest")
	s.row("HOST_DATA", "%x", r.HostData)
	s.remark("guest policy", fmt.Sprintf("%#x", uint64(r.Policy)), "%s, ABI %s", r.Policy, r.Policy.ABI())
	s.remark("platform", fmt.Sprintf("%#x", uint64(r.Platform)), "%s", r.Platform)
	s.row("VMPL, guest SVN", "%d, %d", r.VMPL, r.GuestSVN)
	s.row("family, image", "%s, %s", id(r.FamilyID), id(r.ImageID))
	s.row("ID key", "%s", r.IDKey)
	s.row("author key", "%s", r.AuthorKey)
	s.row("report id", "%x", r.ReportID)
	s.row("migration agent", "%x", r.MigrationID)
	s.row("chip id", "%x", r.ChipID)
	s.remark("firmware", r.Current.String(), "committed %s", r.Committed)
	for _, t := range []struct {
		name   string
		packed uint64
	}{{"reported TCB", r.ReportedTCB}, {"current TCB", r.CurrentTCB}, {"committed TCB", r.CommittedTCB}, {"launch TCB", r.LaunchTCB}} {
		remark := ""
		if known == nil && r.Version >= 3 {
			if tcb, err := product.Line().TCB(t.name, t.packed); err == nil {
				remark = tcb.String()
			}
		}
		s.remark(t.name, fmt.Sprintf("%#016x", t.packed), "%s", remark)
	}
	s.row("signed by", "%s", r.Signer)
	s.reportData(r.ReportData)
	sections := []Section{s}
	if c := ev.AMD; c != nil {
		key := Section{Title: "Endorsement key"}
		key.certificate("certificate", c.EndorsementKey)
		if len(c.CRL) > 0 {
			key.crl("CRL", c.CRL)
		}
		sections = append(sections, key, certificates("Its chain", c.Chain))
	}
	return sections
}

// id shows 16 bytes that are often text.
func id(b [16]byte) string {
	if text := strings.TrimRight(string(b[:]), "\x00"); text != "" && text == printable(text) {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%x", b)
}
