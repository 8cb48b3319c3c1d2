package attestd

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

type quoterOf vm.TEE

func (q quoterOf) Quote(_ context.Context, rd [64]byte) (vm.Evidence, error) {
	return vm.Evidence{TEE: vm.TEE(q), Quote: rd[:]}, nil
}

// A report of SEV-SNP binds no events: beside it they would be refused, and are
// left out. Other evidence carries them; /events has them in any case.
func TestEventsGoWithRegisters(t *testing.T) {
	for tee, want := range map[vm.TEE]int{vm.SNP: 0, vm.TDX: 4, vm.Soft: 4} {
		opt := testOptions(t)
		opt.TEE = tee
		opt = quoting(opt, quoterOf(tee))
		_, url, client := serve(t, opt)
		var a vm.Attestation
		if _, body := get(t, client, url+"/attestation?nonce=00112233445566778899aabbccddeeff"); json.Unmarshal([]byte(body), &a) != nil || len(a.Evidence.Events) != want {
			t.Errorf("%s: evidence is %s, want %d events", tee, body, want)
		}
		var events []vm.Event
		if _, body := get(t, client, url+"/events"); json.Unmarshal([]byte(body), &events) != nil || len(events) != 4 {
			t.Errorf("%s: events are %s", tee, body)
		}
	}
}
