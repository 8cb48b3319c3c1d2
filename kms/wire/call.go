package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// ErrGarbage marks an error of Call for an answer of a size or shape that no node
// gives, which the refusal codes alone do not tell from what a node refused.
var ErrGarbage = errors.New("not an answer of a node")

// Call sends in (nothing when nil) to a node at base, a URL without path, and
// reads the answer into out. The error is a *vm.Refusal, or wraps one:
// CodeUnavailable when the node could not be asked, else what the node said.
func Call(ctx context.Context, via *http.Client, method, base, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request to %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, body)
	if err != nil {
		return vm.Refuse(vm.CodeInvalid, "address of the node: %v", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := via.Do(req)
	if err != nil {
		return fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "node %s does not answer", base), err)
	}
	defer func() { _ = res.Body.Close() }()
	limit := maxAnswer(path)
	answer, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "node %s broke off its answer", base), err)
	case int64(len(answer)) > limit:
		return fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeTooLarge, "node %s answered more than %d bytes", base, limit), ErrGarbage)
	case res.StatusCode != http.StatusOK:
		return readRefusal(base, res, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w (%w: %w)", vm.Refuse(vm.CodeMalformed, "node %s answered something else than %s", base, path), ErrGarbage, err)
	}
	return nil
}

// maxAnswer is the bound of what a path answers with.
func maxAnswer(path string) int64 {
	switch {
	case strings.HasPrefix(path, PathStatus), path == PathRelease, path == PathPartials, path == PathAdvance, strings.HasPrefix(path, PathGrants):
		return MaxMachineAnswer
	default:
		return MaxAnswer
	}
}

// readRefusal makes the error of an answer other than 200.
func readRefusal(base string, res *http.Response, body []byte) error {
	var r vm.Refusal
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind == "application/json" && json.Unmarshal(body, &r) == nil && r.Code != "" {
		return &r
	}
	return vm.Refuse(vm.CodeUnavailable, "node %s answered %s", base, res.Status)
}

// StatusOf is the HTTP status of an answer that refuses with err.
func StatusOf(err error) int {
	switch vm.CodeOf(err) {
	case vm.CodeMalformed:
		return http.StatusBadRequest
	case vm.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case vm.CodeNoService:
		return http.StatusNotFound
	case vm.CodeExists:
		return http.StatusConflict
	case vm.CodeUnavailable:
		return http.StatusServiceUnavailable
	case vm.CodeInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusForbidden
	}
}

// WriteRefusal answers with err, which says nothing of itself when it is no
// refusal: what went wrong inside is for the node's log.
func WriteRefusal(w http.ResponseWriter, err error) {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		r = vm.Refuse(vm.CodeInternal, "the node failed to answer")
	}
	WriteJSON(w, StatusOf(r), r)
}

// Encoded is an answer that is JSON already, for many to be given.
type Encoded []byte

// Encode makes v such an answer.
func Encode(v any) (Encoded, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, ok := v.(Encoded)
	if !ok {
		var err error
		if b, err = Encode(v); err != nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
