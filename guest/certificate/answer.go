package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/net/netutil"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on whoever asks at the challenge's port.
const (
	maxClients    = 64
	clientTimeout = 5 * time.Second
)

// listen answers at the challenge's port until ctx ends, unless it does already.
func (k *Keeper) listen(ctx context.Context) error {
	if k.serving.Load() {
		return nil
	}
	l, err := k.o.Listen(ctx)
	if err != nil {
		return fmt.Errorf("listen for the authority: %w", err)
	}
	server := &http.Server{
		Handler: k, ReadTimeout: clientTimeout, WriteTimeout: clientTimeout, IdleTimeout: clientTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}, GetCertificate: k.proof},
	}
	serve := server.Serve
	if k.o.Config.Challenge == vm.ChallengeTLS {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	k.serving.Store(true)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		_ = serve(netutil.LimitListener(l, maxClients)) // it always ends with an error; the next round listens again
		stop()
		k.serving.Store(false)
	}()
	return nil
}

// ServeHTTP answers http-01, and sends everybody else who asks for one of the
// names on to https.
func (k *Keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	offer, _ := k.offers.Load(r.URL.Path)
	answer, ok := offer.(string)
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	switch {
	case ok:
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, answer) // who asked has gone
	case slices.Contains(k.o.Config.Names, strings.ToLower(host)):
		to := url.URL{Scheme: "https", Host: strings.ToLower(host), Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusPermanentRedirect)
	default:
		http.NotFound(w, r)
	}
}

// proof is the certificate that answers tls-alpn-01. Who does not ask for it
// gets none: nothing else is served here.
func (k *Keeper) proof(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	offer, _ := k.offers.Load(strings.ToLower(hello.ServerName))
	p, _ := offer.(*tls.Certificate)
	if p == nil || len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acme.ALPNProto {
		return nil, errors.New("not the authority")
	}
	return p, nil
}

// offer holds the answer to one challenge ready until it is withdrawn.
func (k *Keeper) offer(client *acme.Client, token, name string) (withdraw func(), err error) {
	key := client.HTTP01ChallengePath(token)
	var answer any
	if k.o.Config.Challenge == vm.ChallengeTLS {
		var p tls.Certificate
		p, err = client.TLSALPN01ChallengeCert(token, name)
		key, answer = name, &p
	} else {
		answer, err = client.HTTP01ChallengeResponse(token)
	}
	k.offers.Store(key, answer)
	return func() { k.offers.Delete(key) }, err
}
