package fetch

import (
	"context"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on what an existing SecretVM serves.
const (
	maxCPU     = 64 << 10 // a quote in hex, or a report in base64
	maxCompose = 4 << 20
	maxInfo    = 64 << 10
)

// Peer asks a machine of the existing SecretVM system for its evidence, and
// for what else it says, over one TLS connection. Its quote was made at boot:
// no nonce is asked. Where it serves GPU evidence, that becomes part of the
// evidence. Collateral never comes along.
func Peer(ctx context.Context, a verification.Address) (verification.Answer, error) {
	c, err := dial(ctx, a)
	if err != nil {
		return verification.Answer{}, err
	}
	defer c.close()
	start := time.Now()
	text, err := c.get(ctx, "/cpu", maxCPU)
	if err != nil {
		return verification.Answer{}, err
	}
	answer, _, err := verification.Recognise(text)
	if err != nil {
		return verification.Answer{}, vm.Refuse(vm.CodeMalformed, "%s does not serve a quote: %v", a, err).
			Try("is the port that of the attestation service (29343)?")
	}
	answer.URL, answer.Asked, answer.Took = a.String(), start.UTC(), time.Since(start)
	answer.TLSKey, answer.TLSCert = c.key, vm.HashOf(c.tls.ConnectionState().PeerCertificates[0].Raw)
	answer.Served = &peer.Served{}
	for _, part := range []struct {
		path  string
		limit int64
		to    *[]byte
	}{
		{"/docker-compose", maxCompose, &answer.Served.Compose},
		{"/info", maxInfo, &answer.Served.Info},
		{"/gpu", vm.MaxGPUSize, &answer.Served.GPU},
	} {
		if *part.to, err = c.optional(ctx, part.path, part.limit); err != nil {
			return verification.Answer{}, err
		}
	}
	answer.Attestation.Evidence.GPU, err = answer.Served.GPUEvidence()
	return answer, err
}

// optional asks for what a machine may serve or not: any status but OK counts
// as nothing.
func (c *connection) optional(ctx context.Context, path string, limit int64) ([]byte, error) {
	status, body, err := c.request(ctx, path, limit)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, nil
	}
	return body, nil
}

// Certificate takes the evidence from the certificate of whatever speaks TLS at
// a (RA-TLS): of a workload, or of another system. The handshake has proved the
// key; no nonce was asked.
func Certificate(ctx context.Context, a verification.Address) (verification.Answer, error) {
	start := time.Now()
	c, err := dial(ctx, a)
	if err != nil {
		return verification.Answer{}, err
	}
	defer c.close()
	answer, err := verification.CertificateAnswer(c.tls.ConnectionState().PeerCertificates[0])
	answer.URL, answer.TLSKey, answer.Asked, answer.Took = a.String(), c.key, start.UTC(), time.Since(start)
	return answer, err
}

// Any asks the machine at a as one of our own; where it does not answer as one,
// as an existing SecretVM; then for evidence in its certificate. What all refuse
// is refused as our own.
func Any(ctx context.Context, a verification.Address) (verification.Answer, error) {
	answer, err := Fetch(ctx, a)
	if vm.CodeOf(err) != vm.CodeMalformed {
		return answer, err
	}
	for _, ask := range []func(context.Context, verification.Address) (verification.Answer, error){Peer, Certificate} {
		if other, otherErr := ask(ctx, a); otherErr == nil {
			return other, nil
		}
	}
	return answer, err
}
