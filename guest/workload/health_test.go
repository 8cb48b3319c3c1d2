package workload

import (
	"encoding/json"
	"testing"
)

func TestSummary(t *testing.T) {
	c := func(service, state, status string) container {
		return container{State: state, Status: status, Labels: map[string]string{serviceLabel: service}}
	}
	for _, tt := range []struct {
		name string
		list []container
		text string
		want condition
	}{
		{"none yet", nil, "no containers", waiting},
		{"one", []container{c("web", "running", "Up 2 seconds")}, "1 container", good},
		{"healthy", []container{c("web", "running", "Up 2 seconds (healthy)"), c("db", "running", "Up 3 seconds")}, "2 containers, 1 healthy", good},
		{"finished its work", []container{c("init", "exited", "Exited (0) 1 second ago"), c("web", "running", "Up 1 second")}, "2 containers", good},
		{"starting", []container{c("web", "running", "Up 1 second (health: starting)"), c("db", "running", "Up 1 second")}, "waiting for web: Up 1 second (health: starting)", waiting},
		{"created", []container{c("web", "created", "Created")}, "waiting for web: Created", waiting},
		{"restarting", []container{c("web", "restarting", "Restarting (1) 2 seconds ago")}, "waiting for web: Restarting (1) 2 seconds ago", waiting},
		{"no status", []container{c("web", "removing", "")}, "waiting for web: removing", waiting},
		{"failed before waiting", []container{c("a", "created", "Created"), c("b", "exited", "Exited (3) 1 second ago")}, "b failed: Exited (3) 1 second ago", failed},
		{"unhealthy", []container{c("web", "running", "Up 1 minute (unhealthy)")}, "web failed: Up 1 minute (unhealthy)", failed},
		{"status that begins like success", []container{c("web", "exited", "Exited (01) 1 second ago")}, "web failed: Exited (01) 1 second ago", failed},
		{"several", []container{c("c", "running", "Up 1 second"), c("b", "exited", "Exited (3) 1 second ago"), c("a", "running", "Up 1 minute (unhealthy)")}, "a failed: Up 1 minute (unhealthy); b failed: Exited (3) 1 second ago", failed},
		{"dead", []container{c("web", "dead", "Dead")}, "web failed: Dead", failed},
		{"paused", []container{c("web", "paused", "Up 1 minute (Paused)")}, "1 container", good},
	} {
		text, worst := summary(tt.list)
		if text != tt.text || worst != tt.want {
			t.Errorf("%s: %q, %d; want %q, %d", tt.name, text, worst, tt.text, tt.want)
		}
	}
}

func TestContainersForPeople(t *testing.T) {
	for _, tt := range []struct{ state, status, want string }{
		{"running", "Up 2 seconds", `{"name":"p-web-1","service":"web","state":"running"}`},
		{"running", "Up 2 seconds (healthy)", `{"name":"p-web-1","service":"web","state":"running","health":"healthy"}`},
		{"running", "Up 2 seconds (health: starting)", `{"name":"p-web-1","service":"web","state":"running","health":"starting"}`},
		{"exited", "Exited (0) 3 minutes ago", `{"name":"p-web-1","service":"web","state":"exited","exit_code":0}`},
		{"exited", "Exited (137) 3 minutes ago", `{"name":"p-web-1","service":"web","state":"exited","exit_code":137}`},
		{"restarting", "Restarting (1) 2 seconds ago", `{"name":"p-web-1","service":"web","state":"restarting","exit_code":1}`},
		{"exited", "Exited (x)", `{"name":"p-web-1","service":"web","state":"exited"}`},
	} {
		c := container{Names: []string{"/p-web-1"}, State: tt.state, Status: tt.status, Labels: map[string]string{serviceLabel: "web"}}
		if got, err := json.Marshal(c.public()); err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.status, got, err, tt.want)
		}
	}
}
