package verifiers

import (
	"bytes"
	"testing"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"

	"github.com/secretvm/secretvm/attest/tdx"
)

// TestFields compares what both decoders read.
func TestFields(t *testing.T) {
	e := newBed(t).make(t, nil, nil)
	parsed, err := abi.QuoteToProto(e.quote)
	if err != nil {
		t.Fatal(err)
	}
	theirs := parsed.(*pb.QuoteV4).GetTdQuoteBody()
	ours, err := tdx.Decode(e.quote)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2][]byte{
		"MRTD": {ours.Body.MRTD[:], theirs.GetMrTd()}, "MRCONFIGID": {ours.Body.MRConfigID[:], theirs.GetMrConfigId()},
		"RTMR1": {ours.Body.RTMR[1][:], theirs.GetRtmrs()[1]}, "RTMR2": {ours.Body.RTMR[2][:], theirs.GetRtmrs()[2]},
		"REPORTDATA": {ours.Body.ReportData[:], theirs.GetReportData()}, "MRSEAM": {ours.Body.MRSEAM[:], theirs.GetMrSeam()},
		"TEE_TCB_SVN": {ours.Body.TEETCBSVN[:], theirs.GetTeeTcbSvn()},
	} {
		if !bytes.Equal(pair[0], pair[1]) {
			t.Errorf("%s is %x here, %x there", name, pair[0], pair[1])
		}
	}
}
