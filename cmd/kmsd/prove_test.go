package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/secretvm/secretvm/kms/api"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/vm"
)

// liar is a node's interface whose answers are changed on their way.
func liar(t *testing.T, to string, change func(path string, body []byte) []byte) string {
	t.Helper()
	at, err := url.Parse(to)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ModifyResponse = func(r *http.Response) error {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = change(r.Request.URL.Path, b)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Del("Content-Length")
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// TestK3_QueriesAreProven: what --prove shows is what the validators signed, and
// a node that lies about an entry, its absence, the header or the chain is found.
func TestK3_QueriesAreProven(t *testing.T) {
	k := newKmsd(t)
	var made node.Made
	k.run(0, &made, "init", "--chain-id", "prove-1")
	_, r := k.start()
	k.register(made)
	id := made.Owner + "/web"
	shows := func(p proven, into string) {
		t.Helper()
		if p.Signed != 1 || p.Of != 1 || p.Header.Height != p.Height+1 || p.ChainID != "prove-1" || !strings.Contains(string(p.Entry), into) {
			t.Errorf("proven is %+v with entry %s, want %q in it", p, p.Entry, into)
		}
	}
	var p proven
	// The header that signs the image is one block later.
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		k.run(0, &p, "query", "kms", "image", "--service", "web", "--image", "0", "--prove")
		if string(p.Entry) != "null" {
			break
		}
	}
	shows(p, `"description":"test"`)
	k.run(0, &p, "query", "kms", "service", "web", "--prove")
	shows(p, id)
	k.run(0, &p, "query", "kms", "params", "--prove")
	shows(p, "trust_roots")
	k.run(0, &p, "query", "committee", "params", "--prove")
	shows(p, made.Owner)
	k.run(0, &p, "query", "entry", "--store", "committee", "--key", "00")
	shows(p, `"0a`)
	if said := k.run(0, &p, "query", "kms", "service", "nothing", "--prove"); string(p.Entry) != "null" || !strings.Contains(said, "PROVEN THAT THERE IS NONE") {
		t.Errorf("absence: %+v, %s", p, said)
	}
	k.run(0, &p, "query", "kms", "grant", strings.Repeat("0", 64), "--prove")
	trusted := p.Header
	k.run(0, &p, "query", "kms", "service", "web", "--prove", "--trusted-header", fmt.Sprintf("%d:%s", trusted.Height, trusted.Hash))
	shows(p, id)

	var refused vm.Refusal
	refuses := func(what string, code vm.Code, args ...string) {
		t.Helper()
		refused = vm.Refusal{}
		k.run(1, &refused, args...)
		if refused.Code != code || refused.Hint == "" && code != vm.CodeMalformed {
			t.Errorf("%s: %+v, want %s with a hint", what, refused, code)
		}
	}
	trusted.Hash[0] ^= 1
	refuses("another header", vm.CodeSignature, "query", "kms", "service", "web", "--prove", "--trusted-header", fmt.Sprintf("%d:%s", trusted.Height, trusted.Hash))
	entry := func(change func(fields map[string]json.RawMessage)) string {
		return liar(t, r.API, func(path string, b []byte) []byte {
			if !strings.HasSuffix(path, "abci_query") {
				return b
			}
			var fields map[string]json.RawMessage
			must(t, json.Unmarshal(b, &fields))
			change(fields)
			b, err := json.Marshal(fields)
			must(t, err)
			return b
		})
	}
	other, err := (&types.Service{Id: id, Owner: "svm1mallory", Name: "web"}).Marshal()
	must(t, err)
	value, err := json.Marshal(other)
	must(t, err)
	altered := entry(func(f map[string]json.RawMessage) { f["value"] = value })
	refuses("altered value", vm.CodeSignature, "query", "kms", "service", "web", "--prove", "--node", altered)
	hidden := entry(func(f map[string]json.RawMessage) { f["value"] = []byte("null") })
	refuses("hidden entry", vm.CodeSignature, "query", "kms", "service", "web", "--prove", "--node", hidden)
	invented := entry(func(f map[string]json.RawMessage) { f["value"] = value })
	refuses("invented entry", vm.CodeSignature, "query", "kms", "service", "nothing", "--prove", "--node", invented)
	unproven := entry(func(f map[string]json.RawMessage) { delete(f, "proof_ops") })
	refuses("no proof", vm.CodeMalformed, "query", "kms", "service", "web", "--prove", "--node", unproven)

	forged := liar(t, r.API, func(path string, b []byte) []byte {
		if path != api.PathLight {
			return b
		}
		var l api.LightBlock
		must(t, json.Unmarshal(b, &l))
		var block cmtproto.LightBlock
		must(t, block.Unmarshal(l.Block))
		block.SignedHeader.Header.AppHash[0] ^= 1
		l.Block, err = block.Marshal()
		must(t, err)
		b, err := json.Marshal(l)
		must(t, err)
		return b
	})
	refuses("forged header", vm.CodeSignature, "query", "kms", "service", "web", "--prove", "--node", forged)

	// A whole other chain of that name, with other validators.
	twin := &kmsd{t: t, home: filepath.Join(t.TempDir(), "twin"), pki: k.pki}
	twin.run(0, new(node.Made), "init", "--chain-id", "prove-1")
	_, r2 := twin.start()
	refuses("another chain", vm.CodeSignature, "query", "kms", "service", "web", "--prove", "--node", r2.API)
	must(t, os.Rename(filepath.Join(k.home, "config", "genesis.json"), filepath.Join(k.home, "genesis.moved")))
	refuses("no genesis", vm.CodeInvalid, "query", "kms", "service", "web", "--prove")
	k.run(0, &p, "query", "kms", "service", "web", "--prove", "--genesis", filepath.Join(k.home, "genesis.moved"))
	shows(p, id)
}
