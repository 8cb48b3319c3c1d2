package keys

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// quotePatience is for a quote, and the evidence of GPUs with it.
const quotePatience = 5 * time.Minute

// Quotes makes quotes for releases of one machine: whatever it is asked, each is
// about this machine's own request for keys, to the key manager that its measured
// config names.
type Quotes struct {
	gate   *pace.Gate
	config vm.Config
}

// NewQuotes makes them with the machine's device. One is made at a time, and the
// device then rests as long as it took.
func NewQuotes(device pace.Quoter, config vm.Config) *Quotes {
	gate := pace.NewGate(device, 0, nil)
	gate.Strict, gate.Timeout, gate.Rest.Patience = true, quotePatience, quotePatience
	return &Quotes{gate, config}
}

// quote answers what the process asks for.
func (q *Quotes) quote(ctx context.Context, about About) (Quoted, error) {
	say, key := q.release(about), Secret(nil)
	if q.config.KMS.Provider == vm.ProviderSecretNetwork {
		var err error
		if say, key, err = q.contract(); err != nil {
			return Quoted{}, err
		}
	}
	evidence, err := q.gate.Quote(ctx, say)
	if err != nil {
		clear(key)
		return Quoted{}, err
	}
	evidence.BootLog = nil // key managers decide by registers
	return Quoted{&evidence, key}, nil
}

// release is what a quote for a release says.
func (q *Quotes) release(about About) [64]byte {
	return vm.Release{
		ChainID: q.config.KMS.ChainID, BlockHash: about.BlockHash, InstanceID: q.config.InstanceID,
		HPKEKey: about.HPKEKey, SessionKey: about.SessionKey,
	}.ReportData()
}

// contract is what a quote for the contract of existing machines says, which no
// label tells from others: so the key in it is drawn here, and is nothing that
// somebody else wants to hear quoted.
func (q *Quotes) contract() (reportData [64]byte, key Secret, err error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return reportData, nil, fmt.Errorf("make a session key: %w", err)
	}
	reportData, err = vm.ContractReportData(private.PublicKey().Bytes(), q.config.InstanceID)
	return reportData, private.Bytes(), err
}
