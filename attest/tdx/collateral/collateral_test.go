package collateral_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

const signature = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

// TestOpenKeepsBytes: the signed bytes come out as they went in, white space
// and order included.
func TestOpenKeepsBytes(t *testing.T) {
	inner := `{ "b" : 1,"a":"é\u00e9" }`
	envelope := ` {"tcbInfo": ` + inner + ` ,"signature":"` + signature + `"} `
	got, sig, err := collateral.Open(collateral.KeyTCBInfo, []byte(envelope))
	if err != nil || string(got) != inner || sig[63] != 0x3f {
		t.Fatalf("Open = %q, %x, %v", got, sig, err)
	}
	again, sig2, err := collateral.Open(collateral.KeyTCBInfo, collateral.Seal(collateral.KeyTCBInfo, got, sig))
	if err != nil || !bytes.Equal(again, got) || sig2 != sig {
		t.Errorf("Open(Seal) = %q, %v", again, err)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, row := range []struct {
		name, envelope string
		want           vm.Code
	}{
		{"empty", ``, vm.CodeCollateral},
		{"no JSON", `x`, vm.CodeMalformed},
		{"null", `null`, vm.CodeMalformed},
		{"other case", `{"TCBInfo":{},"signature":"` + signature + `"}`, vm.CodeMalformed},
		{"a third key", `{"tcbInfo":{},"signature":"` + signature + `","x":1}`, vm.CodeMalformed},
		{"no signature", `{"tcbInfo":{}}`, vm.CodeMalformed},
		{"signature is a number", `{"tcbInfo":{},"signature":1}`, vm.CodeMalformed},
		{"signature short", `{"tcbInfo":{},"signature":"00"}`, vm.CodeMalformed},
		{"signature no hex", `{"tcbInfo":{},"signature":"x` + signature[1:] + `"}`, vm.CodeMalformed},
		{"trailing", `{"tcbInfo":{},"signature":"` + signature + `"}{}`, vm.CodeMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, _, err := collateral.Open(collateral.KeyTCBInfo, []byte(row.envelope)); err == nil || vm.CodeOf(err) != row.want {
				t.Errorf("Open = %v, want %s", err, row.want)
			}
		})
	}
}

func info(sgx, tdx int, pce int) collateral.TCB {
	l := collateral.TCB{PCESVN: pce}
	for range 16 {
		l.SGX, l.TDX = append(l.SGX, collateral.Component{SVN: sgx}), append(l.TDX, collateral.Component{SVN: tdx})
	}
	return l
}

func TestMatch(t *testing.T) {
	best, good, last := info(3, 3, 3), info(2, 2, 2), info(0, 0, 0)
	table := collateral.TCBInfo{TCBLevels: []collateral.TCBLevel{
		{TCB: best, TCBStatus: collateral.UpToDate}, {TCB: good, TCBStatus: collateral.OutOfDate}, {TCB: last, TCBStatus: collateral.RevokedTCB},
	}}
	platform := func(sgx int, tdx byte, pce int) (p collateral.Platform) {
		for i := range p.SGX {
			p.SGX[i], p.TDX[i] = sgx, tdx
		}
		p.PCESVN = pce
		return p
	}
	module0 := platform(3, 3, 3) // below 3 in the module's own SVN
	module0.TDX[0], module0.TDX[1] = 2, 0
	module1 := platform(3, 3, 3)
	module1.TDX[0], module1.TDX[1] = 2, 1
	one := platform(3, 3, 3)
	one.SGX[15] = 2
	for _, row := range []struct {
		name string
		p    collateral.Platform
		want collateral.Status
	}{
		{"equal", platform(3, 3, 3), collateral.UpToDate},
		{"above", platform(9, 9, 9), collateral.UpToDate},
		{"one SGX component short", one, collateral.OutOfDate},
		{"TDX short", platform(3, 2, 3), collateral.OutOfDate},
		{"PCE short", platform(3, 3, 2), collateral.OutOfDate},
		{"between two levels", platform(3, 1, 3), collateral.RevokedTCB},
		{"module version 0: its SVN counts here", module0, collateral.RevokedTCB},
		{"module version 1: its SVN is judged elsewhere", module1, collateral.UpToDate},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := table.Find(&row.p)
			if i < 0 || table.TCBLevels[i].TCBStatus != row.want {
				t.Errorf("Find = %d, want the level that is %s", i, row.want)
			}
		})
	}
	newest := platform(9, 9, 9)
	if i := (&collateral.TCBInfo{}).Find(&newest); i >= 0 {
		t.Error("a table without levels has a level")
	}
}

// TestConverge is the table of Intel's quote verification library.
func TestConverge(t *testing.T) {
	for _, row := range []struct{ platform, part, want collateral.Status }{
		{"UpToDate", "UpToDate", "UpToDate"},
		{"UpToDate", "OutOfDate", "OutOfDate"},
		{"SWHardeningNeeded", "UpToDate", "SWHardeningNeeded"},
		{"SWHardeningNeeded", "OutOfDate", "OutOfDate"},
		{"ConfigurationNeeded", "UpToDate", "ConfigurationNeeded"},
		{"ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"OutOfDate", "UpToDate", "OutOfDate"},
		{"OutOfDateConfigurationNeeded", "UpToDate", "OutOfDateConfigurationNeeded"},
		{"OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"UpToDate", "Revoked", "Revoked"},
		{"Revoked", "UpToDate", "Revoked"},
		{"Revoked", "OutOfDate", "Revoked"},
		{"UpToDate", "SomethingNew", "OutOfDate"},
	} {
		if got := row.platform.Converge(row.part); got != row.want {
			t.Errorf("%s with %s is %s, want %s", row.platform, row.part, got, row.want)
		}
	}
}

func TestHexOfEitherCase(t *testing.T) {
	var upper, lower collateral.Hex
	if json.Unmarshal([]byte(`"B0C06F000000"`), &upper) != nil || json.Unmarshal([]byte(`"b0c06f000000"`), &lower) != nil || !bytes.Equal(upper, lower) {
		t.Errorf("%v and %v differ", upper, lower)
	}
	if err := json.Unmarshal([]byte(`"B0C"`), &upper); err == nil || !strings.Contains(err.Error(), "hexadecimal") {
		t.Errorf("odd number of digits: %v", err)
	}
}

// coded reports whether err is nil, and that it has a code if not.
func coded(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && vm.CodeOf(err) == vm.CodeInternal {
		t.Errorf("error without a code: %v", err)
	}
	return err == nil
}

// TestWorse joins the statuses of a platform at launch and now.
func TestWorse(t *testing.T) {
	for _, row := range []struct{ a, b, want collateral.Status }{
		{"UpToDate", "UpToDate", "UpToDate"},
		{"UpToDate", "OutOfDate", "OutOfDate"},
		{"SWHardeningNeeded", "SWHardeningNeeded", "SWHardeningNeeded"},
		{"SWHardeningNeeded", "OutOfDate", "OutOfDate"},
		{"ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"OutOfDate", "OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded"},
		{"Revoked", "UpToDate", "Revoked"},
		{"Fine", "Revoked", "Fine"}, // refused by whoever reads it
	} {
		if got, back := row.a.Worse(row.b), row.b.Worse(row.a); got != row.want || back != row.want {
			t.Errorf("%s and %s are %s and %s, want %s", row.a, row.b, got, back, row.want)
		}
	}
}
