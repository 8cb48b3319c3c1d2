package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveDocker answers on an engine's socket like dockerd.
func serveDocker(t *testing.T, h http.HandlerFunc) Folders {
	t.Helper()
	f := Folders{Run: t.TempDir(), Data: t.TempDir()}
	l, err := net.Listen("unix", f.Socket())
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return f
}

func TestContainers(t *testing.T) {
	f := serveDocker(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/_ping":
			fmt.Fprint(w, "OK")
		case apiVersion + "/containers/json":
			var filter map[string][]string
			_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filter)
			if r.URL.Query().Get("all") != "1" || fmt.Sprint(filter) != "map[label:[com.docker.compose.project=guestbook]]" {
				t.Errorf("asked %s", r.URL)
			}
			fmt.Fprint(w, `[{"Id":"a","Names":["/guestbook-web-1"],"State":"running","Status":"Up 1 second","Labels":{"com.docker.compose.service":"web"}}]`)
		default:
			http.Error(w, `{"message":"no such thing"}`, http.StatusNotFound)
		}
	})
	d := newDocker(f.Socket())
	if err := d.ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := d.containers(t.Context(), "guestbook")
	if err != nil || len(list) != 1 || list[0].service() != "web" || list[0].judge() != good {
		t.Errorf("got %+v, %v", list, err)
	}
	if _, err := d.get(t.Context(), "/nothing", url.Values{}); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("a bad answer: %v", err)
	}
	if err := newDocker(filepath.Join(t.TempDir(), "none")).ping(t.Context()); err == nil {
		t.Error("no socket: no error")
	}
}

func TestEvents(t *testing.T) {
	f := serveDocker(t, func(w http.ResponseWriter, r *http.Request) {
		var filter map[string][]string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filter); err != nil || filter["type"][0] != "container" || len(filter["label"]) != 1 {
			t.Errorf("filter %q: %v", r.URL.Query().Get("filters"), err)
		}
		for _, ev := range []string{
			`{"Action":"start","Actor":{"Attributes":{"com.docker.compose.service":"web"}}}`,
			`{"Action":"health_status: unhealthy","Actor":{"Attributes":{"com.docker.compose.service":"web"}}}`,
			`{"Action":"die","Actor":{"Attributes":{"com.docker.compose.service":"web","exitCode":"3"}}}`,
			`{"Action":"oom","Actor":{"Attributes":{"com.docker.compose.service":"db"}}}`,
		} {
			fmt.Fprintln(w, ev)
		}
	})
	var said []string
	err := newDocker(f.Socket()).events(t.Context(), "p", func(ev event) {
		if text := ev.describe(); text != "" {
			said = append(said, text)
		}
	})
	want := "container of web: health status: unhealthy|container of web ended with status 3|container of db ran out of memory"
	if err == nil || strings.Join(said, "|") != want {
		t.Errorf("said %q, %v; want %q", said, err, want)
	}
}

func TestWaitForContainers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		states  []string // one per look, the last for ever
		want    string
		wantErr string
	}{
		{"at last", []string{"Up 1 second (health: starting)", "Up 2 seconds (unhealthy)", "Up 3 seconds (healthy)"}, "1 container, 1 healthy", ""},
		{"never", []string{"Up 1 second (health: starting)"}, "", "waiting for web"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looks := 0
			f := serveDocker(t, func(w http.ResponseWriter, _ *http.Request) {
				status := tt.states[min(looks, len(tt.states)-1)]
				looks++
				fmt.Fprintf(w, `[{"State":"running","Status":%q,"Labels":{"com.docker.compose.service":"web"}}]`, status)
			})
			p := &Project{Name: "p", engine: NewEngine(f, nil, nil)}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			got, err := p.wait(ctx)
			if got != tt.want || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) || tt.wantErr == "" && err != nil {
				t.Errorf("got %q, %v after %d looks", got, err, looks)
			}
		})
	}
}
