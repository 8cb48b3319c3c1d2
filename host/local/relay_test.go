package local

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// Of the real quote and the real collateral below.
const fmspc = "b0c06f000000"

var july = time.Date(2025, time.July, 1, 0, 0, 0, 0, time.UTC)

// realQuote is of a TDX machine.
func realQuote(t testing.TB) []byte { return vectors.Read(t, "dcap-qvl/sample/tdx_quote") }

// intel is a service that answers as Intel's did in June 2025, and what finds
// collateral there.
func intel(t testing.TB) (*endorsementtest.Services, Complete) {
	t.Helper()
	var f map[string]string
	if err := json.Unmarshal(vectors.Read(t, "dcap-qvl/sample/tdx_quote_collateral.json"), &f); err != nil {
		t.Fatal(err)
	}
	unhex := func(name string) []byte {
		b, err := hex.DecodeString(f[name])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := endorsementtest.Start(t)
	s.PutIntel("tdx", fmspc, "platform", "", vm.Collateral{
		PCKCRL: unhex("pck_crl"), PCKCRLChain: []byte(f["pck_crl_issuer_chain"]), RootCACRL: unhex("root_ca_crl"),
		TCBInfo:      collateral.Seal(collateral.KeyTCBInfo, []byte(f["tcb_info"]), [64]byte(unhex("tcb_info_signature"))),
		TCBInfoChain: []byte(f["tcb_info_issuer_chain"]), QEIdentityChain: []byte(f["qe_identity_issuer_chain"]),
		QEIdentity: collateral.Seal(collateral.KeyQEIdentity, []byte(f["qe_identity"]), [64]byte(unhex("qe_identity_signature"))),
	})
	o := endorsement.Options{
		Addresses: s.Addresses(), Time: july,
		Client: &transport.Client{Pause: time.Millisecond, Patience: 2 * time.Second, Timeout: 5 * time.Second},
	}
	return s, func(ctx context.Context, ev *vm.Evidence, _ Note) error { return endorsement.Complete(ctx, ev, o) }
}

// node is a KMS that keeps what it is told.
type node struct {
	url  string
	path string
	body []byte
}

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.path = r.URL.Path
		n.body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "the node's own answer")
	}))
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

func relayTo(t *testing.T, n *node, find Complete) (*relay, string) {
	t.Helper()
	r, err := startRelay(n.url, find, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, "http://127.0.0.1:" + strconv.Itoa(r.port)
}

// release is what a TDX machine posts: a quote and no collateral.
func release(t *testing.T) (wire.Release, []byte) {
	t.Helper()
	r := wire.Release{
		Service: "svm1owner/guestbook", InstanceID: strings.Repeat("ab", 16), HPKEKey: []byte{1}, SessionKey: []byte{2}, Height: 7,
		BlockHash: vm.Hash{3}, Config: []byte(`{"version":1}`), Evidence: vm.Evidence{TEE: vm.TDX, Quote: realQuote(t)},
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

func post(t *testing.T, url string, body []byte) (status int, answer string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// The node gets the machine's release with collateral that proves it under
// Intel's own root, and nothing else in it is changed.
func TestRelayAddsCollateral(t *testing.T) {
	if releasePath != wire.PathRelease {
		t.Fatalf("machines post to %s, the relay looks at %s", wire.PathRelease, releasePath)
	}
	services, find := intel(t)
	n := startNode(t)
	r, url := relayTo(t, n, find)
	sent, body := release(t)
	if _, err := attest.Verify(sent.Evidence, attest.Options{Time: july}); vm.CodeOf(err) != vm.CodeCollateral {
		t.Fatalf("without collateral: %v", err)
	}
	if status, answer := post(t, url+wire.PathRelease, body); status != http.StatusTeapot || answer != "the node's own answer" {
		t.Errorf("the machine is told %d %s", status, answer)
	}
	var got wire.Release
	if err := json.Unmarshal(n.body, &got); err != nil {
		t.Fatal(err)
	}
	if v, err := attest.Verify(got.Evidence, attest.Options{Time: july}); err != nil || !v.Anchor.Intel || trouble([]*relay{r}) != "" {
		t.Errorf("the release does not prove itself: %v %s", err, trouble([]*relay{r}))
	}
	got.Evidence.Collateral = nil
	if again, err := json.Marshal(got); err != nil || !bytes.Equal(again, body) {
		t.Errorf("more than collateral was changed: %s (%v)", again, err)
	}
	if services.Asked("") == 0 {
		t.Error("nobody asked the vendor's service")
	}
}

// What is no release, and what nothing is found for, passes as it is.
func TestRelayPassesTheRest(t *testing.T) {
	_, find := intel(t)
	lost := errors.New("the vendor does not answer")
	_, body := release(t)
	for _, c := range []struct {
		name, path string
		body       []byte
		find       Complete
	}{
		{"another question", wire.PathPartials, body, find},
		{"no JSON", wire.PathRelease, []byte("{"), find},
		{"no evidence", wire.PathRelease, []byte(`{"service":"x"}`), find},
		{"evidence of another shape", wire.PathRelease, []byte(`{"evidence":[]}`), find},
		{"no quote", wire.PathRelease, []byte(`{"evidence":{"tee":"tdx","quote":"AAAA"}}`), find},
		{"no collateral to be had", wire.PathRelease, body, func(context.Context, *vm.Evidence, Note) error { return lost }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t)
			r, url := relayTo(t, n, c.find)
			status, _ := post(t, url+c.path, c.body)
			if status != http.StatusTeapot || n.path != c.path || !bytes.Equal(n.body, c.body) {
				t.Errorf("the node was asked %s %.80q, want %s %.80q; answer %d", n.path, n.body, c.path, c.body, status)
			}
			if said := strings.Contains(trouble([]*relay{r}), lost.Error()); said != (c.name == "no collateral to be had") {
				t.Errorf("trouble is %q", trouble([]*relay{r}))
			}
		})
	}
}

func TestRelayRefuses(t *testing.T) {
	_, find := intel(t)
	n := startNode(t)
	_, url := relayTo(t, n, find)
	if status, answer := post(t, url+wire.PathRelease, make([]byte, maxRelease+1)); status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, string(vm.CodeTooLarge)) || n.path != "" {
		t.Errorf("a release that is too long: %d %s, and the node saw %q", status, answer, n.path)
	}
	gone := &node{url: "http://127.0.0.1:1"}
	_, url = relayTo(t, gone, find)
	if status, answer := post(t, url+wire.PathStatus, nil); status != http.StatusBadGateway || !strings.Contains(answer, string(vm.CodeUnavailable)) {
		t.Errorf("a node that is gone: %d %s", status, answer)
	}
}

// Whatever a machine posts, the node gets it whole or with collateral added.
func FuzzRelay(f *testing.F) {
	add := func(_ context.Context, ev *vm.Evidence, _ Note) error {
		if len(ev.Quote) == 0 {
			return errors.New("no quote")
		}
		ev.Collateral = &vm.Collateral{TCBInfo: []byte("{}")}
		return nil
	}
	r := &relay{find: add, note: quiet}
	f.Add([]byte(`{"service":"x","evidence":{"tee":"tdx","quote":"AAAA"},"keys":[]}`))
	f.Add([]byte(`{"evidence":null}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := r.complete(t.Context(), body)
		if bytes.Equal(got, body) {
			return
		}
		var before, after map[string]json.RawMessage
		var ev vm.Evidence
		if json.Unmarshal(body, &before) != nil || json.Unmarshal(got, &after) != nil || json.Unmarshal(after["evidence"], &ev) != nil || ev.Collateral == nil {
			t.Fatalf("%q became %q", body, got)
		}
		for name := range before {
			var a, b any
			if name == "evidence" {
				continue
			}
			if json.Unmarshal(before[name], &a) != nil || json.Unmarshal(after[name], &b) != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%s was changed from %s to %s", name, before[name], after[name])
			}
		}
	})
}
