// Package gate stands between docker compose and dockerd and says which
// containers there may be. What a compose file comes to is settled only when
// compose has merged and interpolated it; here each container, volume and
// command arrives in the form in which dockerd will run it.
//
// No container gets the machine itself (its TEE, its devices, its processes, its
// file system) unless the measured config trusts its service with it. Folders of
// the host that a compose file names are folders on the encrypted disk. Logs
// have a bound.
package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Policy is what the measured config, and the machine, say about containers.
type Policy struct {
	Privileged []string          // services that are trusted with the machine
	GPUs       bool              // the machine has GPUs that proved themselves
	Restricted bool              // containers may send to a list only
	Project    string            // folder of the files archive
	Disk       string            // folder on the encrypted disk for all other folders that are named
	Secrets    string            // folder of the files that are the workload's secrets
	Sockets    map[string]string // of the machine's API, by service
	TLS        []string          // services that may have the folder with the machine's certificate
}

// maxBody bounds the description of a container, in bytes.
const maxBody = 4 << 20

// Gate serves dockerd's API to docker compose.
type Gate struct {
	policy Policy
	proxy  *httputil.ReverseProxy
}

// New makes a gate to the dockerd that listens on a socket.
func New(socket string, policy Policy) *Gate {
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", socket)
	}}
	return &Gate{policy: policy, proxy: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		Transport:     transport,
		FlushInterval: -1, // events and logs are followed
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusBadGateway, fmt.Errorf("ask dockerd: %w", err))
		},
	}}
}

// Serve answers on l until ctx ends.
func (g *Gate) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the container engine: %w", err)
	}
	return nil
}

// Requests of the Docker Engine API that change something, without its version,
// and what is looked at in them. Others that change something are refused;
// compose has no use for them.
var changes = []struct {
	path  *regexp.Regexp
	check func(Policy, []byte) ([]byte, error)
}{
	{regexp.MustCompile(`^/containers/create$`), Policy.container},
	{regexp.MustCompile(`^/volumes/create$`), Policy.volume},
	{regexp.MustCompile(`^/containers/[^/]+/exec$`), Policy.exec},
	{regexp.MustCompile(`^/containers/[^/]+/(?:attach|kill|pause|rename|resize|restart|start|stop|unpause|wait)$`), nil},
	{regexp.MustCompile(`^/exec/[^/]+/(?:resize|start)$`), nil},
	{regexp.MustCompile(`^/images/create$`), nil},
	{regexp.MustCompile(`^/networks/create$`), Policy.network},
	{regexp.MustCompile(`^/networks/[^/]+/(?:connect|disconnect)$`), nil},
	{regexp.MustCompile(`^/auth$`), nil},
}

var version = regexp.MustCompile(`^/v[0-9.]+/`)

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		if err := g.check(w, r); err != nil {
			refuse(w, http.StatusForbidden, err)
			return
		}
	}
	g.proxy.ServeHTTP(w, r)
}

func (g *Gate) check(w http.ResponseWriter, r *http.Request) error {
	path := version.ReplaceAllString(r.URL.Path, "/")
	i := slices.IndexFunc(changes, func(c struct {
		path  *regexp.Regexp
		check func(Policy, []byte) ([]byte, error)
	},
	) bool {
		return c.path.MatchString(path)
	})
	if i < 0 {
		return fmt.Errorf("secretvm: %s is not for workloads", path)
	}
	if changes[i].check == nil {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		body, err = changes[i].check(g.policy, body)
	}
	if err != nil {
		return fmt.Errorf("secretvm: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.Header.Del("Content-Length")
	return nil
}

// refuse answers as dockerd does, so that compose shows the reason.
func refuse(w http.ResponseWriter, status int, err error) {
	body, _ := json.Marshal(map[string]string{"message": strings.ToValidUTF8(err.Error(), "?")})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
