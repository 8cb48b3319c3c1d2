package attestd

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Summary    string           `json:"summary"`
		OpenedBy   string           `json:"x-opened-by"`
		Security   []map[string]any `json:"security"`
		Parameters []struct {
			Name     string `json:"name"`
			Required bool   `json:"required"`
		} `json:"parameters"`
		Responses map[string]struct {
			Ref     string         `json:"$ref"`
			Content map[string]any `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Responses map[string]any `json:"responses"`
		Schemas   map[string]any `json:"schemas"`
	} `json:"components"`
}

// TestOpenAPIIsTheMux: what is documented is served, and the other way round:
// paths, what opens them, status codes and content types.
func TestOpenAPIIsTheMux(t *testing.T) {
	s, url, client := serve(t, liveOptions(t, "compose", "logs", "metrics", "resources", "services"))
	_, body := get(t, client, url+"/openapi.json")
	var doc document
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	served := map[string]string{}
	for path, e := range s.endpoints() {
		path = strings.Replace(path, "{$}", "", 1)
		served[path] = e.open
		if e.page != "" {
			served[path+".html"] = e.open
		}
	}
	delete(served, "/favicon.ico") // browsers ask for it, nobody else should
	for path, open := range served {
		methods, ok := doc.Paths[path]
		if !ok || len(methods) != 1 {
			t.Errorf("%s is served and not documented, or with other methods: %v", path, methods)
			continue
		}
		op := methods["get"]
		if op.OpenedBy != open || (len(op.Security) > 0) != (open != "") {
			t.Errorf("%s: documented as opened by %q with %v, is by %q", path, op.OpenedBy, op.Security, open)
		}
		query := ""
		for _, p := range op.Parameters {
			if p.Required {
				query = "?" + p.Name + "=" + strings.Repeat("ab", 16)
			}
		}
		code, contentType := look(t, client, url+path+query)
		answer, ok := op.Responses[strconv.Itoa(code)]
		if !ok {
			t.Errorf("GET %s: %d is not documented", path, code)
			continue
		}
		if answer.Ref == "" && (len(answer.Content) != 1 || answer.Content[contentType] == nil) {
			t.Errorf("GET %s: %q, documented as %v", path, contentType, answer.Content)
		}
		if answer.Ref != "" && doc.Components.Responses[strings.TrimPrefix(answer.Ref, "#/components/responses/")] == nil {
			t.Errorf("GET %s: nothing is %s", path, answer.Ref)
		}
	}
	for path := range doc.Paths {
		if _, ok := served[path]; !ok {
			t.Errorf("%s is documented and not served", path)
		}
	}
	for _, ref := range slices.Compact(slices.Sorted(slices.Values(references(body)))) {
		kind, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
		if kind == "schemas" && doc.Components.Schemas[name] == nil || kind == "responses" && doc.Components.Responses[name] == nil {
			t.Errorf("nothing is %s", ref)
		}
	}
}

// look returns status and content type, without waiting for the end of a stream.
func look(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Content-Type")
}

func references(text string) (refs []string) {
	for part := range strings.SplitSeq(text, `"$ref": "`) {
		if ref, _, ok := strings.Cut(part, `"`); ok && strings.HasPrefix(ref, "#/") {
			refs = append(refs, ref)
		}
	}
	return refs
}
