// Package fetch asks a machine's attestation service for evidence, over one
// TLS connection that is never opened twice. It is the part of package
// verification that touches the network.
package fetch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// maxAnswer bounds one body: evidence within vm's limits, in base64.
const maxAnswer = 8 << 20

// Fetch asks the service at a for evidence over a fresh nonce that binds the
// connection too, and for its config, over one connection that is never opened twice: so all of it, and
// the key that the quote must name, are of one machine. A refusal with
// vm.CodeUnavailable means that nothing could be asked.
func Fetch(ctx context.Context, a verification.Address) (verification.Answer, error) {
	nonce := make([]byte, verification.NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return verification.Answer{}, vm.Refuse(vm.CodeInternal, "draw a nonce: %v", err)
	}
	return fetch(ctx, a, nonce)
}

func fetch(ctx context.Context, a verification.Address, nonce []byte) (verification.Answer, error) {
	c, err := dial(ctx, a)
	if err != nil {
		return verification.Answer{}, err
	}
	defer c.close()
	answer := verification.Answer{URL: a.String(), TLSKey: c.key, Nonce: nonce}
	state := c.tls.ConnectionState()
	if answer.Exporter, err = state.ExportKeyingMaterial(vm.ExporterLabel, nil, vm.ExporterSize); err != nil {
		return verification.Answer{}, vm.Refuse(vm.CodeInternal, "export keying material: %v", err)
	}

	start := time.Now()
	answer.Asked = start.UTC()
	body, err := c.get(ctx, "/attestation?nonce="+hex.EncodeToString(nonce)+"&binding="+vm.BindingExporter, maxAnswer)
	if err != nil {
		return verification.Answer{}, err
	}
	answer.Took = time.Since(start)
	if answer.Attestation, err = verification.ParseAttestation(body); err != nil {
		return verification.Answer{}, err
	}
	answer.Config, err = c.get(ctx, "/config", vm.MaxConfigSize)
	return answer, err
}

// Bounds on waiting for a service that makes one quote at a time.
const (
	busyTries = 5
	busyPause = time.Second
)

// get asks for one path over the connection. A service that is busy is asked
// again a few times.
func (c *connection) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	for try := 1; ; try++ {
		status, body, err := c.request(ctx, path, limit)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			return body, nil
		case status == http.StatusServiceUnavailable && try < busyTries:
			select {
			case <-ctx.Done():
				return nil, c.unreachable(ctx.Err())
			case <-time.After(busyPause):
			}
		case status == http.StatusServiceUnavailable || status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
			return nil, vm.Refuse(vm.CodeUnavailable, "%s is too busy to answer", c.address).
				On("status", http.StatusText(status), "OK").Try("try again in a minute")
		default:
			return nil, vm.Refuse(vm.CodeMalformed, "%s does not answer as an attestation service", c.address).
				On("status of "+path[:min(len(path), 12)], http.StatusText(status), "OK").
				Try("is the port that of the attestation service (29343)?")
		}
	}
}
