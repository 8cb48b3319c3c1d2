package peer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"html"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Served is what a machine of another system says beside its evidence. Nothing
// of it is believed.
type Served struct {
	Compose []byte `json:"docker_compose,omitempty"` // GET /docker-compose: raw, or a page that holds it
	Info    []byte `json:"info,omitempty"`           // GET /info, of v0.0.34 and later
	GPU     []byte `json:"gpu,omitempty"`            // GET /gpu, where there is one

	AppCompose []byte `json:"app_compose,omitempty"` // dstack: the application document
	MrConfig   []byte `json:"mr_config,omitempty"`   // dstack: the document that the launch is bound to
	VMConfig   []byte `json:"vm_config,omitempty"`   // dstack: the launch configuration, JSON
}

// ComposeFiles returns what the compose file may be: the answer as it is, and
// where it is a page the text in it, with and without the invisible characters
// that pages add. A measurement decides which.
func (s Served) ComposeFiles() (candidates [][]byte) {
	add := func(b []byte) {
		if len(b) > 0 && !slices.ContainsFunc(candidates, func(c []byte) bool { return bytes.Equal(b, c) }) {
			candidates = append(candidates, b)
		}
	}
	add(s.Compose)
	lower := bytes.Clone(s.Compose) // in ASCII only, so that places stay the same
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	open := bytes.Index(lower, []byte("<pre"))
	if open < 0 {
		return candidates
	}
	start := bytes.IndexByte(lower[open:], '>')
	end := bytes.LastIndex(lower, []byte("</pre>"))
	if start < 0 || end < open+start+1 {
		return candidates
	}
	text := html.UnescapeString(string(s.Compose[open+start+1 : end]))
	add([]byte(text))
	add([]byte(strings.TrimRight(text, invisible)))
	add([]byte(strings.Map(func(r rune) rune {
		if strings.ContainsRune(invisible, r) {
			return -1
		}
		return r
	}, text)))
	return candidates
}

// invisible characters: zero-width space, non-joiner, joiner, byte order mark.
const invisible = "\u200b\u200c\u200d\ufeff"

// AppID returns the dstack application id, empty where none is served.
func (s Served) AppID() []byte {
	var info struct {
		AppID string `json:"dstack_app_id"`
	}
	if json.Unmarshal(s.Info, &info) != nil {
		return nil
	}
	id, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(info.AppID)), "0x"))
	if err != nil || len(id) > vm.MaxEventPayload {
		return nil
	}
	return id
}
