//go:build load

package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/kmstest"
	"github.com/secretvm/secretvm/vm"
)

// send sends a transaction as the owner of the first home.
func (c *committee) send(t *testing.T, msg sdk.Msg) {
	t.Helper()
	owner, err := c.owner.Owner()
	must(t, err)
	must(t, kmstest.Send(t.Context(), c.nodes[0].api, owner, msg))
}

// service registers a service with one image, and returns its config.
func (c *committee) service(t *testing.T) vm.Config {
	t.Helper()
	s, err := c.nodes[0].status(t.Context())
	must(t, err)
	cfg := kmstest.Config(c.made.Owner+"/web", "services: {}\n", kmstest.Instance(1), vm.KMS{ChainID: c.made.ChainID, GroupKey: s.GroupKey.String()})
	c.send(t, &types.MsgCreateService{Owner: c.made.Owner, Name: "web"})
	image, err := kmstest.Image(c.made.Owner, cfg)
	must(t, err)
	c.send(t, image)
	return cfg
}

// network is the second byte of the machines' addresses.
const network = 2

// machine is a booted soft TEE that asks for its disk key.
type machine struct {
	*kmstest.Machine
	urls    []string
	number  int
	key     keys.Secret  // that it was given first
	waits   int          // how often it had to ask again
	waited  string       // for what last
	quoting atomic.Int64 // nanoseconds that making quotes took
}

// Quote implements client.Quoter.
func (m *machine) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	defer func(begin time.Time) { m.quoting.Add(int64(time.Since(begin))) }(time.Now())
	return m.Machine.Quote(ctx, reportData)
}

// boot starts the machine of a number.
func (c *committee) boot(cfg vm.Config, number int) (*machine, error) {
	cfg.InstanceID = kmstest.Instance(number)
	booted, err := kmstest.Boot(c.pki, cfg)
	if err != nil {
		return nil, err
	}
	return &machine{Machine: booted, urls: c.urls(), number: number}, nil
}

// release asks for the key as a guest does, from a client that knows nothing
// yet, and returns how long it took until the verified key was there. A machine
// gets the same key every time.
func (m *machine) release(ctx context.Context) (time.Duration, error) {
	cl, err := client.New(m.urls, m.Request.Config.KMS)
	if err != nil {
		return 0, err
	}
	cl.HTTP = kmstest.Client(network, m.number)
	cl.Waiting = func(w client.Wait) {
		m.waits++
		m.waited = w.Outage.Error()
	}
	quoted := m.quoting.Load()
	begin := time.Now()
	session, err := cl.Release(ctx, m, m.Request)
	if err != nil {
		return 0, fmt.Errorf("machine %d: %w", m.number, err)
	}
	key, err := session.Key(m.Disk)
	took := time.Since(begin) - time.Duration(m.quoting.Load()-quoted)
	session.Close()
	switch {
	case err != nil:
		return 0, fmt.Errorf("machine %d: %w", m.number, err)
	case m.key.IsZero():
		m.key = key
	case m.key != key:
		return 0, fmt.Errorf("machine %d got another key than before", m.number)
	}
	return took, nil
}
