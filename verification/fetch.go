package verification

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// NonceSize is the number of random bytes that a quote must answer.
const NonceSize = 32

// maxAnswer bounds one body: evidence within vm's limits, in base64.
const maxAnswer = 1 << 20

// Answer is what a machine said, and what was seen of the connection over
// which it said so. Nothing in it is believed yet.
type Answer struct {
	URL         string
	TLSKey      vm.Hash // SHA-256 of the SubjectPublicKeyInfo that the handshake proved
	Nonce       []byte  // ours
	Took        time.Duration
	Attestation vm.Attestation
	Config      []byte // served as the canonical config
}

// Fetch asks the service at a for evidence over a fresh nonce, and for its
// config, over one connection that is never opened twice: so all of it, and
// the key that the quote must name, are of one machine. A refusal with
// vm.CodeUnavailable means that nothing could be asked.
func Fetch(ctx context.Context, a Address) (Answer, error) {
	nonce := make([]byte, NonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return Answer{}, vm.Refuse(vm.CodeInternal, "draw a nonce: %v", err)
	}
	return fetch(ctx, a, nonce)
}

func fetch(ctx context.Context, a Address, nonce []byte) (Answer, error) {
	c, err := dial(ctx, a)
	if err != nil {
		return Answer{}, err
	}
	defer c.close()
	answer := Answer{URL: a.String(), TLSKey: c.key, Nonce: nonce}

	start := time.Now()
	body, err := c.get(ctx, "/attestation?nonce="+hex.EncodeToString(nonce), maxAnswer)
	if err != nil {
		return Answer{}, err
	}
	answer.Took = time.Since(start)
	if answer.Attestation, err = decodeAttestation(body); err != nil {
		return Answer{}, err
	}
	answer.Config, err = c.get(ctx, "/config", vm.MaxConfigSize)
	return answer, err
}

// decodeAttestation reads the answer to a nonce. Fields that later versions
// add are ignored; everything that counts is bound by the quote.
func decodeAttestation(body []byte) (vm.Attestation, error) {
	var at vm.Attestation
	malformed := func(format string, args ...any) (vm.Attestation, error) {
		return vm.Attestation{}, vm.Refuse(vm.CodeMalformed, "the answer is not an attestation: "+format, args...).
			Try("is the port that of the attestation service (29343)?")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&at); err != nil {
		return malformed("%.200q", err.Error())
	}
	if _, err := dec.Token(); err != io.EOF {
		return malformed("trailing bytes")
	}
	if len(at.Nonce) > 2*vm.MaxNonceSize {
		return malformed("its nonce has %d characters", len(at.Nonce))
	}
	if len(at.Evidence.Events) > vm.MaxEvents {
		return malformed("%d events, at most %d are allowed", len(at.Evidence.Events), vm.MaxEvents)
	}
	return at, nil
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
