package types

import (
	"bytes"
	"strings"
	"testing"

	errorsmod "cosmossdk.io/errors"

	"github.com/cosmos/cosmos-sdk/types/bech32"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

func address(t testing.TB, n byte) string {
	t.Helper()
	s, err := bech32.ConvertAndEncode(Bech32Prefix, bytes.Repeat([]byte{n}, 20))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGenesis(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*GenesisState)
		wantErr string
	}{
		{"good", func(*GenesisState) {}, ""},
		{"no roots", func(g *GenesisState) { g.Params.TrustRoots = nil }, "no trust roots"},
		{"root that is none", func(g *GenesisState) { g.Params.TrustRoots = []string{"arm"} }, "trust root 0"},
		{"root with trailing text", func(g *GenesisState) {
			g.Params.TrustRoots = []string{"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\nx"}
		}, "trust root 0"},
		{"root that does not parse", func(g *GenesisState) {
			g.Params.TrustRoots = []string{"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}
		}, "trust root 0"},
		{"max_block_age", func(g *GenesisState) { g.Params.MaxBlockAge = 0 }, "max_block_age"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := GenesisState{Params: DefaultParams()}
			tt.change(&g)
			err := g.Validate()
			if tt.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// TestErrorNumbersStay: the numbers are in the results hash of every block.
func TestErrorNumbersStay(t *testing.T) {
	for number, code := range map[uint32]vm.Code{
		2: vm.CodeInternal, 3: vm.CodeMalformed, 4: vm.CodeTooLarge, 5: vm.CodeInvalid, 6: vm.CodePermission, 7: vm.CodeNoService,
		8: vm.CodeExists, 9: vm.CodeStale, 10: vm.CodeReplayed, 11: vm.CodeSignature, 12: vm.CodeUnavailable,
	} {
		codespace, got, text := errorsmod.ABCIInfo(Fail(vm.Refuse(code, "the reason").On("field", "found", "wanted")), false)
		if codespace != ModuleName || got != number || !strings.Contains(text, "the reason: field is found, want wanted") {
			t.Errorf("%s is %s %d %q, want number %d", code, codespace, got, text, number)
		}
		if back, ok := CodeOf(codespace, got); !ok || back != code {
			t.Errorf("number %d reads as %s", got, back)
		}
	}
	for _, number := range []uint32{0, 1, firstNumber + uint32(len(refusalCodes))} {
		if _, ok := CodeOf(ModuleName, number); ok {
			t.Errorf("number %d is known", number)
		}
	}
	if _, ok := CodeOf("sdk", 4); ok {
		t.Error("the SDK's numbers are taken for ours")
	}
}

// FuzzMsgRelease: whatever bytes a transaction carries, reading them neither
// panics nor lets through what is over the bounds.
func FuzzMsgRelease(f *testing.F) {
	r, err := keys.NewRecipient()
	if err != nil {
		f.Fatal(err)
	}
	id := keys.Disk(address(f, 1)+"/web", strings.Repeat("0", 31)+"1")
	good := MsgRelease{
		Relay: address(f, 2), Service: id.Service, VmUid: id.Instance(), HpkeKey: r.Public(), SessionKey: make([]byte, 32), Height: 1,
		BlockHash: make([]byte, 32), Config: []byte("{}"), Quote: []byte{1}, Events: []Event{{Name: "a", Payload: []byte{1}}},
		Collateral: &Collateral{TcbInfo: []byte("{}")}, Keys: FromIDs([]keys.ID{id}),
	}
	if err := good.ValidateBasic(); err != nil {
		f.Fatal(err)
	}
	b, err := good.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m MsgRelease
		if m.Unmarshal(b) != nil || m.ValidateBasic() != nil {
			return
		}
		ev := m.Evidence()
		if len(ev.Quote) > vm.MaxQuoteSize || len(m.Config) > vm.MaxConfigSize || len(ev.Events) > vm.MaxEvents || len(m.Keys) > MaxKeys {
			t.Fatal("a message over the bounds was accepted")
		}
		for _, k := range m.Keys {
			if uid := k.ID().Instance(); k.Service != m.Service || uid != "" && uid != m.VmUid {
				t.Fatalf("a message for another machine's key was accepted: %v", k)
			}
		}
	})
}
