package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// FuzzRequests: whatever a container sends, the machine neither panics nor gives
// more than was granted, and what it refuses it says as JSON.
func FuzzRequests(f *testing.F) {
	f.Add(false, "/quote", "data=00&about=application", "")
	f.Add(false, "/key", "path=a/b&scope=instance&epoch=0", "")
	f.Add(true, "/sign", "", `{"key_type":"ed25519","payload":"x","domain":""}`)
	f.Add(true, "/event", "", `{"name":"a","payload":"AA=="}`)
	f.Add(false, "/publickey", "key_type=ed25519", "")
	f.Add(true, "/event", "", `{"name":"a","payload":"AA=="`)
	m := machinetest.Boot(f, func(s *machinetest.Spec) { s.Config.API = vm.API{"nobody": {"info"}} })
	config := m.Config
	config.API = vm.API{"web": {"event", "quote"}}
	s, err := api.New(api.Options{Machine: proof.New(m, config), Config: config, Events: m.Events})
	if err != nil {
		f.Fatal(err)
	}
	handler := map[string]http.Handler{"web": s.Handler("web"), "nobody": s.Handler("nobody")}
	f.Fuzz(func(t *testing.T, post bool, path, query, body string) {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		for service, h := range handler {
			r := httptest.NewRequest(method, "http://vm/", strings.NewReader(body))
			r.URL = &url.URL{Path: path, RawQuery: query}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch {
			case w.Code == http.StatusOK && (service != "web" || path != "/quote" && path != "/event"):
				t.Errorf("%s gets %s %q?%s: %s", service, method, path, query, w.Body)
			case w.Code == http.StatusInternalServerError:
				t.Errorf("%s %q?%s %q: %s", method, path, query, body, w.Body)
			}
		}
	})
}
