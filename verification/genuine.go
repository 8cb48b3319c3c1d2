package verification

import (
	"bytes"
	"encoding/hex"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// checkReportData tells apart the two things that the report data binds: the
// key of this very connection, and this very nonce. The answer's own claims
// serve only to say which of them does not hold.
func (f *finding) checkReportData() (connection, fresh Check) {
	if f.answer.Claims != nil {
		return f.certified()
	}
	if f.answer.Unseen() {
		return f.unseen()
	}
	if !f.answer.Connected() {
		return f.unconnected()
	}
	connection = holds("connection", "this TLS connection ends in the attested VM", "key sha256 %s", short(f.answer.TLSKey))
	fresh = holds("fresh", "the quote answers a random number of ours", "in %d ms", f.answer.Took.Milliseconds())
	if f.answer.Recorded { // somebody else's connection: what the quote binds can be checked, that it was seen cannot
		connection = holds("connection", "the recorded TLS connection ended in the attested VM", "key sha256 %s", short(f.answer.TLSKey))
		fresh = holds("fresh", "the quote answers the recorded random number", "%s", at(f.answer.Asked))
	}

	ours, claimed := f.answer.Nonce, f.answer.Attestation
	claimedNonce, _ := hex.DecodeString(claimed.Nonce)       // not hex: no nonce, which binds nothing we know
	claimedExporter, _ := hex.DecodeString(claimed.Exporter) // likewise
	binds := func(key vm.Hash, nonce, exporter []byte) bool {
		rd := vm.ExporterReportData(key, nonce, exporter)
		return bytes.Equal(rd[:], f.verdict.ReportData)
	}
	if len(f.answer.Exporter) > 0 {
		connection.Detail = "exporter bound, " + connection.Detail
	}
	relayed := fails("connection", f.relayed())
	replayed := fails("fresh", vm.Refuse(vm.CodeStale, "the quote answers another nonce: it was made before").
		On("nonce", claimed.Nonce, hex.EncodeToString(ours)).
		Try("ask again; if it stays, this is not the attested machine"))
	switch {
	case binds(f.answer.TLSKey, ours, f.answer.Exporter):
	case binds(claimed.TLSKey, ours, claimedExporter):
		connection = relayed
	case binds(f.answer.TLSKey, claimedNonce, f.answer.Exporter):
		fresh = replayed
	case binds(claimed.TLSKey, claimedNonce, claimedExporter):
		connection, fresh = relayed, replayed
	default:
		want := vm.ExporterReportData(f.answer.TLSKey, ours, f.answer.Exporter)
		refusal := vm.Refuse(vm.CodeReportData, "the quote is about neither this connection nor this request").
			On("report_data", hex.EncodeToString(f.verdict.ReportData), hex.EncodeToString(want[:])).
			Try("is the port that of the attestation service (29343)?")
		connection, fresh = fails("connection", refusal), fails("fresh", refusal)
	}
	return connection, fresh
}

// relayed says how the connection differs from the one that the quote binds.
func (f *finding) relayed() *vm.Refusal {
	claimed := f.answer.Attestation
	if f.answer.TLSKey == claimed.TLSKey {
		return vm.Refuse(vm.CodeReportData, "the quote is about the machine's TLS key and not about this connection: who answers here has the key, and need not be the machine").
			On("exporter", claimed.Exporter, hex.EncodeToString(f.answer.Exporter)).
			Try("connect to the machine itself; an image older than this program does not bind connections either")
	}
	return vm.Refuse(vm.CodeReportData, "the quote is about another TLS key: somebody sits between you and the machine").
		On("TLS key", f.answer.TLSKey.String(), claimed.TLSKey.String()).
		Try("connect to the machine itself, not through a proxy that ends TLS")
}

// unconnected is evidence from a file: there was no connection and no nonce.
// Where the file is an attestation, its claims can be held against the quote;
// nobody saw a connection all the same.
func (f *finding) unconnected() (connection, fresh Check) {
	connection = fact("connection", "not checked: evidence from a file, nobody saw a connection", "")
	fresh = fact("fresh", "not checked: a file can be of any age", "report data %x…", f.verdict.ReportData[:8])
	claimed := f.answer.Attestation
	nonce, err := hex.DecodeString(claimed.Nonce)
	if err != nil || len(nonce) == 0 || claimed.TLSKey.IsZero() {
		return connection, fresh
	}
	exporter, _ := hex.DecodeString(claimed.Exporter) // not hex: none
	if want := vm.ExporterReportData(claimed.TLSKey, nonce, exporter); !bytes.Equal(want[:], f.verdict.ReportData) {
		refusal := vm.Refuse(vm.CodeReportData, "the quote is not about the nonce and the TLS key beside it").
			On("report_data", hex.EncodeToString(f.verdict.ReportData), hex.EncodeToString(want[:])).
			Try("quote and nonce were taken from different answers")
		return fails("connection", refusal), fails("fresh", refusal)
	}
	connection.What, connection.Detail = "not checked: the file says which key the machine has, compare it yourself", "key sha256 "+claimed.TLSKey.String()
	fresh.What, fresh.Detail = "not checked: is this nonce yours?", "nonce "+claimed.Nonce
	return connection, fresh
}

// at is a moment for people.
func at(t time.Time) string {
	if t.IsZero() {
		return "at a time that is not recorded"
	}
	return "asked " + t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (f *finding) checkQuote() Check {
	a := f.verdict.Anchor
	if refusal := f.checkKind(); refusal != nil {
		return fails("quote", refusal)
	}
	what := map[vm.TEE]string{vm.TDX: "genuine Intel CPU", vm.SGX: "genuine Intel CPU", vm.SNP: "genuine AMD CPU"}[f.verdict.TEE]
	if what == "" {
		return holds("quote", "signed under a root that YOU named, not a CPU's", "%s, %s", a.Subject, short(a.SHA256))
	}
	if f.verdict.SNP != nil {
		return holds("quote", what, "AMD root %s, %s", short(a.SHA256), f.verdict.SNP.SignedBy)
	}
	return holds("quote", what, "Intel root %s", short(a.SHA256))
}

// checkPlatform reports what the policy of package attest accepted.
func (f *finding) checkPlatform() Check {
	return holds("platform", "TCB "+f.verdict.TCBStatus+advisories(f.verdict.Advisories)+", debug off",
		"FMSPC %s, valid to %s", f.verdict.FMSPC, f.verdict.ValidUntil.UTC().Format(time.DateOnly))
}

// advisories lists known weaknesses for people.
func advisories(ids []string) string {
	if len(ids) == 0 {
		return ", no open advisories"
	}
	return ", advisories " + strings.Join(ids, " ")
}
