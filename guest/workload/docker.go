package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// apiVersion is the Docker Engine API that is spoken; dockerd has 1.40 to 1.56.
const apiVersion = "/v1.43"

// Labels that docker compose gives its containers.
const (
	projectLabel = "com.docker.compose.project"
	serviceLabel = "com.docker.compose.service"
)

// maxAnswer bounds an answer of dockerd, in bytes.
const maxAnswer = 4 << 20

// docker asks dockerd over its socket. Three GET requests do not need its
// client library in the trusted base.
type docker struct{ client *http.Client }

func newDocker(socket string) *docker {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &docker{client: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// get asks for a path and returns the body of a good answer.
func (d *docker) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask dockerd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		resp.Body.Close()
		return nil, fmt.Errorf("ask dockerd for %s: %s: %s", path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}

// ping waits some seconds for an answer.
func (d *docker) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := d.get(ctx, "/_ping", nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// container is one container of a project, as the engine lists it.
type container struct {
	Names  []string
	State  string // created, running, restarting, exited, paused, dead, removing
	Status string // for people: "Up 2 seconds (healthy)", "Exited (1) 3 seconds ago"
	Labels map[string]string
}

func (c container) service() string { return c.Labels[serviceLabel] }

// containers lists the containers of a project, stopped ones included.
func (d *docker) containers(ctx context.Context, project string) ([]container, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := d.get(ctx, apiVersion+"/containers/json", url.Values{"all": {"1"}, "filters": {projectFilter(project)}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var list []container
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return list, nil
}

// event is what happened to a container.
type event struct {
	Action string `json:"Action"` // "die", "oom", "health_status: unhealthy" …
	Actor  struct {
		Attributes map[string]string `json:"Attributes"`
	} `json:"Actor"`
}

// events calls each for what happens to the project's containers, until ctx
// ends or the connection does.
func (d *docker) events(ctx context.Context, project string, each func(event)) error {
	filter := strings.TrimSuffix(projectFilter(project), "}") + `,"type":["container"]}`
	body, err := d.get(ctx, apiVersion+"/events", url.Values{"filters": {filter}})
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var ev event
		if err := dec.Decode(&ev); err != nil {
			return fmt.Errorf("follow container events: %w", err)
		}
		each(ev)
	}
}

func projectFilter(project string) string {
	return fmt.Sprintf(`{"label":[%q]}`, projectLabel+"="+project)
}
