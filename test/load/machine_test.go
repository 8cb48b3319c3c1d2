//go:build load

package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

var (
	root   = vm.HashOf([]byte("rootfs"))
	launch = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// send sends a transaction as the owner of the first home.
func (c *committee) send(t *testing.T, msg sdk.Msg) {
	t.Helper()
	owner, err := c.owner.Owner()
	must(t, err)
	encoding, err := chain.NewEncoding()
	must(t, err)
	api := c.nodes[0].api
	var at wire.Account
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, api, wire.PathAccounts+"/"+owner.Address, nil, &at))
	tx, err := owner.Sign(t.Context(), encoding, at, 10_000_000, msg)
	must(t, err)
	var result wire.TxResult
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodPost, api, wire.PathTx, wire.Tx{Tx: tx}, &result))
}

// service registers a service with one image, and returns its config.
func (c *committee) service(t *testing.T) vm.Config {
	t.Helper()
	s, err := c.nodes[0].status(t.Context())
	must(t, err)
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: c.made.Owner + "/web",
		KMS:        vm.KMS{ChainID: c.made.ChainID, GroupKey: s.GroupKey.String()},
		InstanceID: fmt.Sprintf("%032x", 1), TLS: "self", Images: "digest", GPU: "none",
	}
	c.send(t, &types.MsgCreateService{Owner: c.made.Owner, Name: "web"})
	template, err := cfg.Template().Canonical()
	must(t, err)
	events, err := vm.BootEvents(root, cfg.Template())
	must(t, err)
	registers, err := vm.Replay(events)
	must(t, err)
	c.send(t, &types.MsgAddImage{
		Owner: c.made.Owner, Service: cfg.Service, Platforms: []types.Platform{{Tee: "tdx", Mrtd: launch.MRTD[:], Rtmr0: launch.RTMR[0][:]}},
		Rtmr1: launch.RTMR[1][:], Rtmr2: launch.RTMR[2][:], Rtmr3: registers[3][:], RootHash: root[:], Template: template,
	})
	return cfg
}

// machine is a booted soft TEE that asks for its disk key.
type machine struct {
	*emulator.Machine
	urls    []string
	number  int
	config  vm.Config
	request client.Request
	id      keys.ID
	key     keys.Secret  // that it was given first
	waits   int          // how often it had to ask again
	waited  string       // for what last
	quoting atomic.Int64 // nanoseconds that making quotes took
}

// Quote implements client.Quoter.
func (m *machine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	defer func(begin time.Time) { m.quoting.Add(int64(time.Since(begin))) }(time.Now())
	return m.Machine.Quote(reportData)
}

// boot starts the machine of a number.
func (c *committee) boot(cfg vm.Config, number int) (*machine, error) {
	cfg.InstanceID = fmt.Sprintf("%032x", number)
	at := launch
	var err error
	if at.MRConfigID, err = cfg.ConfigID(); err != nil {
		return nil, err
	}
	events, err := vm.BootEvents(root, cfg)
	if err != nil {
		return nil, err
	}
	soft, err := emulator.New(c.pki, at)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if _, err := soft.Extend(e.Register, e.Digest); err != nil {
			return nil, err
		}
	}
	id := keys.Disk(cfg.Service, cfg.InstanceID)
	return &machine{
		Machine: soft, urls: c.urls(), number: number, config: cfg, id: id,
		request: client.Request{Config: cfg, Events: events, Keys: []keys.ID{id}},
	}, nil
}

// release asks for the key as a guest does, from a client that knows nothing
// yet, and returns how long it took until the verified key was there. A machine
// gets the same key every time.
func (m *machine) release(ctx context.Context) (time.Duration, error) {
	cl, err := client.New(m.urls, m.config.KMS)
	if err != nil {
		return 0, err
	}
	cl.HTTP = from(m.number)
	cl.Waiting = func(w client.Wait) {
		m.waits++
		m.waited = w.Outage.Error()
	}
	quoted := m.quoting.Load()
	begin := time.Now()
	session, err := cl.Release(ctx, m, m.request)
	if err != nil {
		return 0, fmt.Errorf("machine %d: %w", m.number, err)
	}
	key, err := session.Key(m.id)
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

// from is a machine's HTTP, from an address of its own as machines have: nodes
// bound what one address may ask.
func from(number int) *http.Client {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, byte(number>>8), byte(number))}}
	return &http.Client{
		Timeout:       40 * time.Second,
		Transport:     &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: 30 * time.Second, MaxConnsPerHost: 4, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
