package endorsement

import (
	"strings"
	"testing"
)

func TestQuestions(t *testing.T) {
	chip := strings.Repeat("ab", 64)
	const tcb = "blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115"
	for _, text := range []string{
		"intel/tdx/tcb?fmspc=b0c06f000000", "intel/tdx/tcb?fmspc=b0c06f000000&update=early",
		"intel/sgx/tcb?fmspc=b0c06f000000&tcbEvaluationDataNumber=17", "intel/tdx/qe/identity", "intel/sgx/qe/identity?update=early",
		"intel/tdx/qe/identity?tcbEvaluationDataNumber=17", "intel/pckcrl?ca=platform", "intel/pckcrl?ca=processor", "intel/rootcacrl",
		"amd/vcek/Milan/" + chip + "?" + tcb, "amd/vcek/Turin/0123456789abcdef?fmcSPL=0&" + tcb,
		"amd/vcek/Genoa/cert_chain", "amd/vlek/Genoa/cert_chain", "amd/vcek/Turin/crl", "amd/vlek/Turin/crl",
		"nvidia/rim/NV_GPU_VBIOS_1010_0200_882_96005E0001", "nvidia/ocsp/1f-0123456789abcdef",
	} {
		q, err := parseQuestion(text)
		if err != nil || q.String() != text || q.subject() == "" || q.vendor == "" {
			t.Errorf("%s reads as %+v (%s, about %q), %v", text, q, q, q.subject(), err)
		}
	}
	for _, text := range []string{
		"", "intel", "intel/", "intel/tdx/tcb", "intel/tdx/tcb?fmspc=B0C06F000000", "intel/tdx/tcb?fmspc=b0c06f00000", "intel/tdx/tcb?fmspc=b0c06f000000&x=1",
		"intel/tdx/tcb?fmspc=b0c06f000000&update=late", "intel/tdx/tcb?fmspc=b0c06f000000&tcbEvaluationDataNumber=-1", "intel/tdx/tcb?fmspc=b0c06f000000&tcbEvaluationDataNumber=017",
		"intel/amd/tcb?fmspc=b0c06f000000", "intel/pckcrl?ca=root", "intel/rootcacrl?x", "intel/rootcacrl/",
		"amd/vcek/../crl", "amd/xcek/Milan/crl", "amd/vcek/Milan/" + chip[2:] + "?" + tcb, "amd/vcek/Milan/" + chip + "?blSPL=3", "amd/vlek/Milan/" + chip + "?" + tcb,
		"nvidia/rim/", "nvidia/rim/..", "nvidia/rim/a/b", "nvidia/rim/a%2fb", "nvidia/ids/a", "other/thing",
	} {
		if q, err := parseQuestion(text); err == nil {
			t.Errorf("%s is accepted as %+v", text, q)
		}
	}
}

func FuzzQuestion(f *testing.F) {
	f.Add("intel/tdx/tcb?fmspc=b0c06f000000&update=early")
	f.Add("amd/vcek/Turin/0123456789abcdef?fmcSPL=0&blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115")
	f.Add("nvidia/rim/NV_GPU_VBIOS_1010_0200_882_96005E0001")
	f.Fuzz(func(t *testing.T, text string) {
		if q, err := parseQuestion(text); err == nil && q.String() != text {
			t.Errorf("%q is accepted and written %q", text, q)
		}
	})
}
