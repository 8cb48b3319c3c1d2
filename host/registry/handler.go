package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// nameAnnotation holds the repository of an image in the layout's index.
const nameAnnotation = "org.opencontainers.image.ref.name"

// handler answers from tables that are made once: a request chooses an entry
// and never a path.
type handler struct {
	dir       string
	manifests map[string]v1.Descriptor // by "repository@digest"
	blobs     map[string]v1.Descriptor // by "repository@digest"
}

// Handler serves the OCI image layout in dir.
func Handler(dir string) (http.Handler, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("serve image layout: %w", err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("serve image layout: %w", err)
	}
	h := &handler{dir: dir, manifests: map[string]v1.Descriptor{}, blobs: map[string]v1.Descriptor{}}
	for _, d := range list.Manifests {
		repository := d.Annotations[nameAnnotation]
		image, err := index.Image(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("serve image %s: %w", repository, err)
		}
		m, err := image.Manifest()
		if err != nil {
			return nil, fmt.Errorf("serve image %s: %w", repository, err)
		}
		h.manifests[repository+"@"+d.Digest.String()] = d
		for _, blob := range append(m.Layers, m.Config) {
			h.blobs[repository+"@"+blob.Digest.String()] = blob
		}
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "want a path below /v2/")
		return
	}
	if name == "" {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, "{}")
		return
	}
	if d, ok := h.find(h.manifests, name, "/manifests/"); ok {
		h.serve(w, r, d, string(d.MediaType))
		return
	}
	if d, ok := h.find(h.blobs, name, "/blobs/"); ok {
		h.serve(w, r, d, "application/octet-stream")
		return
	}
	if strings.Contains(name, "/blobs/") {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "there is no such blob")
		return
	}
	refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no such image: images are named by digest here")
}

// find splits <repository>/<kind>/<digest> and looks it up.
func (h *handler) find(table map[string]v1.Descriptor, name, kind string) (v1.Descriptor, bool) {
	i := strings.LastIndex(name, kind)
	if i < 0 {
		return v1.Descriptor{}, false
	}
	d, ok := table[name[:i]+"@"+name[i+len(kind):]]
	return d, ok
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, d v1.Descriptor, mediaType string) {
	f, err := os.Open(filepath.Join(h.dir, "blobs", d.Digest.Algorithm, d.Digest.Hex))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "the blob cannot be read")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != d.Size {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "the blob does not have its size")
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", d.Digest.String())
	w.Header().Set("ETag", `"`+d.Digest.String()+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// refuse answers in the form of the specification ("Error Codes").
func refuse(w http.ResponseWriter, status int, code, message string) {
	type reason struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]reason{"errors": {{code, message}}})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away is no concern of the registry.
	_, _ = w.Write(body)
}
