package page_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/kmstest"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// station is a node that runs until the test ends, with its owner.
type station struct {
	*kmstest.Station
	t   *testing.T
	pki *emulator.PKI
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStation(t *testing.T) *station {
	t.Helper()
	pki, err := emulator.NewPKI(time.Now())
	must(t, err)
	return &station{t: t, pki: pki, Station: kmstest.Start(t, node.InitOptions{ChainID: "pages-1", TrustRoots: []string{"intel", string(pki.RootPEM())}})}
}

// get reads a page or an answer, as often as the node allows.
func (s *station) get(path string) (status int, h http.Header, body string) {
	s.t.Helper()
	for {
		status, h, body = s.ask(path)
		if status != http.StatusTooManyRequests {
			return status, h, body
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *station) ask(path string) (status int, h http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.API+path, nil)
	must(s.t, err)
	res, err := http.DefaultClient.Do(req)
	must(s.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	must(s.t, err)
	return res.StatusCode, res.Header, string(b)
}

// config is what a machine of the service name with a compose file measures.
func (s *station) config(name, compose, uid string) vm.Config {
	return kmstest.Config(s.Made.Owner+"/"+name, compose, uid, vm.KMS{ChainID: s.Made.ChainID, GroupKey: s.Made.GroupKey.String()})
}

// image is the message that registers a config.
func (s *station) image(cfg vm.Config, description string) *types.MsgAddImage {
	s.t.Helper()
	msg, err := kmstest.Image(s.Made.Owner, cfg)
	must(s.t, err)
	msg.Description = description
	return msg
}

// boot asks for a machine's disk key, and returns the refusal if there is one.
func (s *station) boot(cfg vm.Config) error {
	s.t.Helper()
	m, err := kmstest.Boot(s.pki, cfg)
	must(s.t, err)
	c, err := client.New([]string{s.API}, cfg.KMS)
	must(s.t, err)
	_, err = c.Release(s.t.Context(), m, m.Request)
	return err
}
