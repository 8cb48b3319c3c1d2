// Package client is the machine's side of a release: it shows a fresh quote to
// the chain, collects partial keys from the nodes, and makes the keys.
//
// Nothing that a node, a relay or the host says is believed. The one trusted
// input is the group key in the machine's own measured config: partial keys are
// checked against commitments that begin with it, finished keys against it. The
// worst that an answer can do is to be useless, and then it is named.
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
	// HTTP sends the requests. New sets one with time-outs that follows no
	// redirects and uses no proxy.
	HTTP *http.Client

	endpoints []string
	chainID   string
	group     keys.PublicKey
}

// New makes a client of the key manager that a config names. The endpoints,
// URLs of nodes, are hints: they may be anybody's.
func New(endpoints []string, kms vm.KMS) (*Client, error) {
	group, err := keys.ParsePublicKeyHex(kms.GroupKey)
	if err != nil {
		return nil, fmt.Errorf("group key of the config: %w", err)
	}
	endpoints = slices.Compact(slices.Clone(endpoints))
	if len(endpoints) == 0 || len(endpoints) > MaxEndpoints {
		return nil, vm.Refuse(vm.CodeInvalid, "%d key manager endpoints given, want 1 to %d", len(endpoints), MaxEndpoints)
	}
	return &Client{HTTP: newHTTP(), endpoints: endpoints, chainID: kms.ChainID, group: group}, nil
}

func newHTTP() *http.Client {
	return &http.Client{
		Timeout:   40 * time.Second,
		Transport: &http.Transport{ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// Quoter makes quotes; tee.Device is one.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Request is what a machine is and what it wants.
type Request struct {
	Config vm.Config
	Events []vm.Event // runtime events of this boot, in order
	Keys   []keys.ID
}
