// Package client is the machine's side of a release: it shows a fresh quote to
// the chain, collects partial keys from the nodes, and makes the keys.
//
// Nothing that a node, a relay or the host says is believed. The one trusted
// input is the group key in the machine's own measured config: partial keys are
// combined only under sharings that begin with it, and the result is checked
// against it. The worst that an answer can do is to be useless, and then who
// gave it is named.
//
// Nodes are asked at the same time, and no more of them are waited for than it
// takes. What was decided ends a release; that nobody decided does not: the
// client asks again for as long as it may, and says what it waits for.
package client

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// MaxEndpoints bounds how many nodes are asked.
const MaxEndpoints = 32

// Client asks one key manager.
type Client struct {
	// HTTP sends the requests. New sets one that follows no redirects and uses
	// no proxy.
	HTTP *http.Client
	// Waiting, if set, is told what a release waits for before each pause. It
	// must not block.
	Waiting func(Wait)

	endpoints []string
	chainID   string
	epoch     uint64                    // of the group key that the config names
	group     keys.PublicKey            // that key
	groups    map[uint64]keys.PublicKey // by epoch
}

// New makes a client of the key manager that a config names. The endpoints,
// URLs of nodes, are hints: they may be anybody's.
func New(endpoints []string, kms vm.KMS) (*Client, error) {
	group, err := keys.ParsePublicKeyHex(kms.GroupKey)
	if err != nil {
		return nil, fmt.Errorf("group key of the config: %w", err)
	}
	groups := map[uint64]keys.PublicKey{kms.Epoch: group}
	for _, p := range kms.Previous {
		if groups[p.Epoch], err = keys.ParsePublicKeyHex(p.GroupKey); err != nil {
			return nil, fmt.Errorf("group key of epoch %d of the config: %w", p.Epoch, err)
		}
	}
	endpoints = slices.Clone(endpoints)
	slices.Sort(endpoints)
	endpoints = slices.Compact(endpoints)
	if len(endpoints) == 0 || len(endpoints) > MaxEndpoints {
		return nil, vm.Refuse(vm.CodeInvalid, "%d key manager endpoints given, want 1 to %d", len(endpoints), MaxEndpoints)
	}
	return &Client{HTTP: newHTTP(), endpoints: endpoints, chainID: kms.ChainID, epoch: kms.Epoch, group: group, groups: groups}, nil
}

// groupOf returns the group key that the config names for an epoch.
func (c *Client) groupOf(epoch uint64) (keys.PublicKey, error) {
	group, ok := c.groups[epoch]
	if !ok {
		return group, vm.Refuse(vm.CodeConfig, "the machine's config names no group key of epoch %d", epoch).
			Try("deploy with the key manager's newer config, or seal what is sealed under an epoch that the config names")
	}
	return group, nil
}

func newHTTP() *http.Client {
	return &http.Client{
		Timeout: 40 * time.Second,
		Transport: &http.Transport{
			ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10,
			MaxConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// Quoter makes quotes; tee.Device is one.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Request is what a machine is and what it wants. Keys named env and registry,
// of scope service, are made only where the owner sealed something to them:
// asking for them costs nothing.
type Request struct {
	Config vm.Config
	Events []vm.Event // runtime events of this boot, in order
	Keys   []keys.ID
}
