package peer

import (
	"encoding/json"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// AppCompose is dstack's application document, app-compose.json, as far as it
// says what runs.
type AppCompose struct {
	Name          string `json:"name"`
	Runner        string `json:"runner"`
	Compose       string `json:"docker_compose_file"`
	KeyProvider   string `json:"key_provider"`
	KMSEnabled    bool   `json:"kms_enabled"`
	LocalKeys     bool   `json:"local_key_provider_enabled"`
	KeyProviderID string `json:"key_provider_id"`

	PreLaunchScript string          `json:"pre_launch_script"`
	BashScript      string          `json:"bash_script"`
	InitScript      json.RawMessage `json:"init_script"` // a text or, from manifest 3 on, several

	raw []byte
}

// ParseAppCompose reads the document. Its digest is of the bytes as given.
func ParseAppCompose(b []byte) (a AppCompose, err error) {
	if len(b) > vm.MaxEventsSize<<4 {
		return a, vm.Refuse(vm.CodeTooLarge, "app-compose document has %d bytes, want at most %d", len(b), vm.MaxEventsSize<<4)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, vm.Refuse(vm.CodeMalformed, "app-compose document: %.200q", err.Error())
	}
	if a.Runner == "" {
		return a, vm.Refuse(vm.CodeMalformed, "the document is no app-compose.json: it names no runner")
	}
	a.raw = b
	return a, nil
}

// Digest is what the compose-hash event of a machine with this document holds.
func (a AppCompose) Digest() vm.Hash { return vm.HashOf(a.raw) }

// Scripts names the parts that run beside the compose file.
func (a AppCompose) Scripts() (names []string) {
	if strings.TrimSpace(a.PreLaunchScript) != "" {
		names = append(names, "pre_launch_script")
	}
	if strings.TrimSpace(a.BashScript) != "" {
		names = append(names, "bash_script")
	}
	if s := string(a.InitScript); s != "" && s != "null" && s != `""` && s != "[]" {
		names = append(names, "init_script")
	}
	return names
}

// provider is the byte that stands for the key provider in MR_CONFIG_ID,
// version 2. Documents of older versions say it by two flags.
func (a AppCompose) provider() byte {
	kinds := map[string]byte{"none": 0, "local": 1, "kms": 2, "tpm": 3}
	switch kind, known := kinds[a.KeyProvider]; {
	case known:
		return kind
	case a.KMSEnabled:
		return kinds["kms"]
	case a.LocalKeys:
		return kinds["local"]
	}
	return kinds["none"]
}
