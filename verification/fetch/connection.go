package fetch

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// maxHead bounds status line and headers of one response.
const maxHead = 64 << 10

// connection is one TLS connection that speaks HTTP/1.1. Go's client would
// open another when this one ends, perhaps to another machine; this one fails.
type connection struct {
	address verification.Address
	tls     *tls.Conn
	limited *io.LimitedReader // below reader: bounds what one response may send
	reader  *bufio.Reader
	key     vm.Hash
}

// dial opens the connection. No authority is asked about the certificate: the
// quote says whose key it is.
func dial(ctx context.Context, a verification.Address) (*connection, error) {
	c := &connection{address: a}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", a.HostPort())
	if err != nil {
		return nil, c.unreachable(err)
	}
	config := &tls.Config{
		InsecureSkipVerify: true, // by design: the key is checked against the quote
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"http/1.1"},
		ServerName:         a.Host,
	}
	c.tls = tls.Client(raw, config)
	if err := c.tls.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if timedOut(err) || ctx.Err() != nil {
			return nil, c.unreachable(err)
		}
		return nil, vm.Refuse(vm.CodeMalformed, "%s does not speak TLS 1.3: %v", a, err).
			Try("is the port that of the attestation service (29343)?")
	}
	leaf := c.tls.ConnectionState().PeerCertificates[0]
	c.key = vm.HashOf(leaf.RawSubjectPublicKeyInfo)
	c.limited = &io.LimitedReader{R: c.tls}
	c.reader = bufio.NewReader(c.limited)
	return c, nil
}

func (c *connection) close() { _ = c.tls.Close() }

// request sends one GET and reads the whole response.
func (c *connection) request(ctx context.Context, path string, limit int64) (status int, body []byte, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.tls.SetDeadline(time.Unix(1, 0)) }) // a deadline that has passed ends I/O
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.address.HostPort()+c.address.Prefix+path, nil)
	if err != nil {
		return 0, nil, vm.Refuse(vm.CodeInvalid, "cannot ask %s: %v", c.address, err)
	}
	req.Header.Set("User-Agent", "secretvm-verify")
	req.Header.Set("Accept-Encoding", "identity")
	c.limited.N = maxHead
	if err := req.Write(c.tls); err != nil {
		return 0, nil, c.lost(ctx, err)
	}
	resp, err := http.ReadResponse(c.reader, req)
	if err != nil {
		return 0, nil, c.lost(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	c.limited.N = maxHead + limit // chunk sizes and trailers take room too
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return 0, nil, c.lost(ctx, err)
	case int64(len(body)) > limit:
		return 0, nil, vm.Refuse(vm.CodeTooLarge, "the answer of %s has more than %d bytes", c.address, limit)
	}
	return resp.StatusCode, body, nil
}

// lost explains an error in the middle of a conversation.
func (c *connection) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil || timedOut(err) {
		return c.unreachable(errors.Join(ctx.Err(), err))
	}
	if c.limited.N <= 0 {
		return vm.Refuse(vm.CodeTooLarge, "%s sends more than it should", c.address)
	}
	return vm.Refuse(vm.CodeUnavailable, "%s ended the connection: %v", c.address, err).
		Try("try again; another connection may end in another machine, so verification does not go on with one")
}

// unreachable explains an error before anything was said.
func (c *connection) unreachable(err error) error {
	r := vm.Refuse(vm.CodeUnavailable, "%s could not be reached: %v", c.address, err)
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return vm.Refuse(vm.CodeUnavailable, "interrupted before %s answered", c.address)
	case timedOut(err):
		return r.Try("is the machine up, and port " + c.address.Port + " open on the way to it? --timeout waits longer")
	case errors.Is(err, syscall.ECONNREFUSED):
		return r.Try(fmt.Sprintf("nothing listens on port %s there: is the machine up? attestation services use %s", c.address.Port, verification.DefaultPort))
	case errors.As(err, &dns):
		return r.Try("is the host name right?")
	}
	return r.Try("is the machine up, and the network?")
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
