// Command asker asks the machine that it runs in whatever there is to ask, once
// for each GET /ask, and answers with what it got. It is built of nothing but the
// standard library, so that its image does not change with this repository.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const socket = "/run/secretvm.sock"

// answer is one of the machine's; of keys, the digest of its text.
type answer struct {
	Status int
	Body   string
	Error  string
}

func main() {
	http.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {}) // who waits for it to be up asks here
	http.HandleFunc("GET /ask", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		_ = json.NewEncoder(w).Encode(askAll(ctx, r.URL.Query().Get("nonce")))
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func askAll(ctx context.Context, nonce string) map[string]answer {
	machine := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer machine.CloseIdleConnections()
	out := map[string]answer{}
	if _, err := os.Stat(socket); err != nil {
		out["socket"] = answer{Error: err.Error()}
	}
	text, _ := json.Marshal(nonce)
	for _, q := range []struct{ name, path, body string }{
		{"info", "/info", ""},
		{"quote", "/quote?data=" + hex.EncodeToString([]byte(nonce)), ""},
		{"key", "/key?path=wallet/alice", ""},
		{"instance-key", "/key?path=session&scope=instance", ""},
		{"denied", "/key?path=wallet/bob", ""},
		{"ed25519", "/sign", `{"key_type":"ed25519","payload":` + string(text) + `}`},
		{"secp256k1", "/sign", `{"payload":` + string(text) + `}`},
		{"event", "/event", `{"name":"asked"}`},
		{"application", "/quote?about=application&data=" + hex.EncodeToString([]byte(nonce)), ""},
	} {
		out[q.name] = ask(ctx, machine, q.path, q.body)
	}
	return out
}

func ask(ctx context.Context, machine *http.Client, path, body string) answer {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://vm"+path, strings.NewReader(body))
	if err != nil {
		return answer{Error: err.Error()}
	}
	resp, err := machine.Do(req)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if strings.HasPrefix(path, "/key") && resp.StatusCode == http.StatusOK {
		digest := sha256.Sum256(b)
		b = []byte(hex.EncodeToString(digest[:]))
	}
	return answer{Status: resp.StatusCode, Body: string(b)}
}
