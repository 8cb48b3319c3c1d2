package wire

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   vm.Code // "" for success
	}{
		{"good", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, 200, Advanced{Generation: 7}) }, ""},
		{"refusal", func(w http.ResponseWriter, _ *http.Request) { WriteRefusal(w, vm.Refuse(vm.CodeImage, "no")) }, vm.CodeImage},
		{"wrapped refusal", func(w http.ResponseWriter, _ *http.Request) {
			WriteRefusal(w, fmt.Errorf("while asking: %w", vm.Refuse(vm.CodeStale, "old")))
		}, vm.CodeStale},
		{"own trouble", func(w http.ResponseWriter, _ *http.Request) { WriteRefusal(w, errors.New("/secret/path failed")) }, vm.CodeInternal},
		{"proxy's page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, vm.CodeUnavailable},
		{"refusal without code", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, 403, map[string]string{"reason": "x"}) }, vm.CodeUnavailable},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, vm.CodeMalformed},
		{"K8_too much", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat(" ", MaxMachineAnswer+1)))
		}, vm.CodeTooLarge},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, vm.CodeUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.answer)
			defer s.Close()
			var answer Advanced
			err := Call(t.Context(), s.Client(), http.MethodPost, s.URL+"/", PathAdvance, Advance{Generation: 7}, &answer)
			if tt.want == "" {
				if err != nil || answer.Generation != 7 {
					t.Fatalf("answer %+v, %v", answer, err)
				}
				return
			}
			if err == nil || vm.CodeOf(err) != tt.want {
				t.Fatalf("error is %v, want %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "/secret/path") {
				t.Errorf("the node's inside shows: %v", err)
			}
		})
	}
	if err := Call(t.Context(), http.DefaultClient, http.MethodGet, "http://127.0.0.1:1", PathStatus, nil, nil); vm.CodeOf(err) != vm.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
	if err := Call(t.Context(), http.DefaultClient, http.MethodGet, ":", PathStatus, nil, nil); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("no address: %v", err)
	}
}
