package exhibit

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

func tdxSections(ev vm.Evidence) []Section {
	q, err := tdx.Decode(ev.Quote)
	if err != nil {
		s := Section{Title: "Quote"}
		s.unread(fmt.Sprintf("%d bytes", len(ev.Quote)), err)
		return []Section{s}
	}
	return append([]Section{header(q.Header, len(ev.Quote)), body(q), enclave("Quoting enclave, whose report vouches for the key", q.Signature.QEReport)},
		certificates("PCK certificate chain, in the quote", q.Signature.PCKChain))
}

func sgxSections(ev vm.Evidence) []Section {
	q, err := tdx.DecodeSGX(ev.Quote)
	if err != nil {
		s := Section{Title: "Quote"}
		s.unread(fmt.Sprintf("%d bytes", len(ev.Quote)), err)
		return []Section{s}
	}
	return []Section{
		header(q.Header, len(ev.Quote)), enclave("Enclave", q.Report),
		enclave("Quoting enclave, whose report vouches for the key", q.Signature.QEReport),
		certificates("PCK certificate chain, in the quote", q.Signature.PCKChain),
	}
}

func header(h tdx.Header, size int) Section {
	s := Section{Title: fmt.Sprintf("Quote, %d bytes", size)}
	s.row("version", "%d", h.Version)
	s.remark("TEE type", fmt.Sprintf("%#x", h.TEEType), "%s", map[uint32]string{0: "SGX", tdx.TEETypeTDX: "TDX"}[h.TEEType])
	s.remark("key type", fmt.Sprint(h.KeyType), "%s", map[uint16]string{2: "ECDSA P-256", 3: "ECDSA P-384"}[h.KeyType])
	maker := "unknown"
	if h.VendorID == tdx.IntelVendorID {
		maker = "Intel's quoting enclave"
	}
	s.remark("vendor", hex.EncodeToString(h.VendorID[:]), "%s", maker)
	s.row("user data", "%x", h.UserData)
	return s
}

func body(q tdx.Quote) Section {
	b := q.Body
	title := "TD report, TDX 1.0"
	if q.BodyType == tdx.BodyTD15 {
		title = "TD report, TDX 1.5"
	}
	s := Section{Title: title}
	s.remark("MRTD", b.MRTD.String(), "firmware")
	for i, what := range []string{"virtual hardware and firmware settings", "kernel", "command line, initramfs", "what the system measured after its start"} {
		s.remark(fmt.Sprintf("RTMR%d", i), b.RTMR[i].String(), "%s", what)
	}
	s.remark("MR_CONFIG_ID", b.MRConfigID.String(), "configuration that it was launched for")
	s.row("MR_OWNER", "%s", b.MROwner)
	s.row("MR_OWNER_CONFIG", "%s", b.MROwnerConfig)
	s.remark("TD attributes", fmt.Sprintf("%#016x", b.TDAttributes), "%s", attributes(b.TDAttributes))
	s.row("XFAM", "%#x", b.XFAM)
	s.remark("TEE_TCB_SVN", hex.EncodeToString(b.TEETCBSVN[:]), "module %d.%d, loader %d", b.ModuleMajor(), b.ModuleSVN(), b.TEETCBSVN[2])
	s.remark("MRSEAM", b.MRSEAM.String(), "TDX module")
	s.row("MRSIGNERSEAM", "%s", b.MRSignerSEAM)
	s.row("SEAM attributes", "%#x", b.SEAMAttributes)
	if q.BodyType == tdx.BodyTD15 {
		s.row("TEE_TCB_SVN_2", "%x", b.TEETCBSVN2)
		s.row("MRSERVICETD", "%s", b.MRServiceTD)
	}
	s.reportData(b.ReportData)
	return s
}

// attributes names the bits of a TD.
func attributes(bits uint64) string {
	var names []string
	for _, n := range []struct {
		bit  uint64
		name string
	}{
		{tdx.AttributeDebug, "DEBUG: its host can read and change it"},
		{tdx.AttributeSEPTVEDisable, "SEPT_VE_DISABLE"},
		{tdx.AttributeMigratable, "MIGRATABLE"},
		{tdx.AttributePKS, "PKS"},
		{tdx.AttributeKL, "KL"},
		{tdx.AttributePerfmon, "PERFMON"},
	} {
		if bits&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}

func (s *Section) reportData(data [64]byte) {
	remark := ""
	if text := strings.TrimRight(string(data[:]), "\x00"); text != "" && text == printable(text) {
		remark = fmt.Sprintf("as text: %q", text)
	}
	s.remark("report data", hex.EncodeToString(data[:]), "%s", remark)
}

func enclave(title string, r tdx.EnclaveReport) Section {
	s := Section{Title: title}
	s.row("MRENCLAVE", "%x", r.MREnclave)
	s.row("MRSIGNER", "%x", r.MRSigner)
	s.row("product, SVN", "%d, %d", r.ISVProdID, r.ISVSVN)
	debug := ""
	if r.Attributes[0]&tdx.EnclaveDebug != 0 {
		debug = "DEBUG: its host can read and change it"
	}
	s.remark("attributes", hex.EncodeToString(r.Attributes[:]), "%s", debug)
	s.row("CPUSVN", "%x", r.CPUSVN)
	s.reportData(r.ReportData)
	return s
}
