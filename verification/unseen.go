package verification

import (
	"bytes"
	"encoding/hex"

	"github.com/secretvm/secretvm/vm"
)

// Unseen reports whether the nonce was ours and the connection's key was not
// to be seen: so it is in a browser, which shows scripts no key.
func (a Answer) Unseen() bool { return a.TLSKey.IsZero() && len(a.Nonce) > 0 }

// unseen decides freshness by the key that the answer itself names, which the
// quote must bind along with our nonce. Whether the connection ends in the
// machine with that key stays open, always.
func (f *finding) unseen() (connection, fresh Check) {
	const reason = "not decided: a browser does not show a page the key of its connection"
	claimed := f.answer.Attestation
	binds := func(nonce []byte) bool {
		rd := vm.AttestationReportData(claimed.TLSKey, nonce)
		return bytes.Equal(rd[:], f.verdict.ReportData)
	}
	claimedNonce, _ := hex.DecodeString(claimed.Nonce) // not hex: no nonce, which binds nothing we know
	switch {
	case binds(f.answer.Nonce):
		return fact("connection", reason, "the machine's is sha256 %s", claimed.TLSKey),
			holds("fresh", "the quote answers a random number of ours", "in %d ms", f.answer.Took.Milliseconds())
	case binds(claimedNonce):
		return fact("connection", reason, ""), fails("fresh", vm.Refuse(vm.CodeStale, "the quote answers another nonce: it was made before").
			On("nonce", claimed.Nonce, hex.EncodeToString(f.answer.Nonce)).
			Try("ask again; if it stays, this is not the attested machine"))
	}
	want := vm.AttestationReportData(claimed.TLSKey, f.answer.Nonce)
	return fact("connection", reason, ""), fails("fresh", vm.Refuse(vm.CodeReportData, "the quote is not about this request").
		On("report_data", hex.EncodeToString(f.verdict.ReportData), hex.EncodeToString(want[:])).
		Try("is the port that of the attestation service (29343)?"))
}
