package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
	"golang.org/x/crypto/sha3"
)

// The events by which dstack's guest measures a boot. What comes behind
// system-ready was extended by the application.
const (
	dstackAppID       = "app-id"
	dstackCompose     = "compose-hash"
	dstackInstance    = "instance-id"
	dstackImage       = "os-image-hash"
	dstackKeyProvider = "key-provider"
	dstackReady       = "system-ready"
)

var dstackOnce = []string{
	"system-preparing", dstackAppID, dstackCompose, dstackInstance, "boot-mr-done", dstackImage, "mr-kms", dstackKeyProvider,
	"gpu-policy-hash", "storage-fs", dstackReady,
}

// Dstack is what a dstack machine measured of itself.
type Dstack struct {
	AppID       string      `json:"app_id"`                   // hex, 20 bytes
	InstanceID  string      `json:"instance_id,omitempty"`    // hex
	Compose     vm.Hash     `json:"compose_hash"`             // SHA-256 of app-compose.json
	OSImage     string      `json:"os_image_hash,omitempty"`  // hex; older images do not measure it
	KeyProvider KeyProvider `json:"key_provider"`             //
	KMS         string      `json:"mr_kms,omitempty"`         // hex, where the key provider is a KMS that names itself so
	Application []string    `json:"application,omitempty"`    // names of events that the application added
	Binding     string      `json:"launch_binding,omitempty"` // of the configuration at launch: "MR_CONFIG_ID version 1" …; empty where there is none
}

// KeyProvider is where a dstack machine takes its keys from.
type KeyProvider struct {
	Name string `json:"name"` // kms, local-sgx, none …
	ID   string `json:"id"`   // hex
}

// RecogniseDstack reads the events of a dstack machine. The log must explain
// RTMR3, and RTMR0 to RTMR2 where it has events of theirs; each boot event must
// come once and before the application's. Refusals have vm.CodeEvents.
func RecogniseDstack(m vm.Measurement, log eventlog.Log) (d Dstack, err error) {
	registers := []int{vm.RuntimeRegister}
	for i := range vm.RuntimeRegister {
		for _, e := range log {
			if e.Register == i {
				registers = append(registers, i)
				break
			}
		}
	}
	if err := log.Explains(m.RTMR, registers...); err != nil {
		return d, err
	}
	events, err := log.Runtime(dstackOnce...)
	if err != nil {
		return d, err
	}
	for _, e := range log {
		if e.Type != eventlog.Runtime && e.Register == vm.RuntimeRegister {
			return d, vm.Refuse(vm.CodeEvents, "the machine extended RTMR3 with an event of type %s, which dstack does not", e.Type)
		}
	}
	if d.Application, err = applicationEvents(log); err != nil {
		return d, err
	}
	compose, ok := events[dstackCompose]
	if !ok || len(compose) != len(d.Compose) {
		return d, vm.Refuse(vm.CodeEvents, "the machine did not measure the compose-hash of a dstack application").
			On(dstackCompose, fmt.Sprintf("%d bytes", len(compose)), "32").Try("is it a dstack machine?")
	}
	d.Compose = vm.Hash(compose)
	d.AppID, d.InstanceID = hex.EncodeToString(events[dstackAppID]), hex.EncodeToString(events[dstackInstance])
	d.OSImage, d.KMS = hex.EncodeToString(events[dstackImage]), hex.EncodeToString(events["mr-kms"])
	if provider := events[dstackKeyProvider]; len(provider) > 0 {
		if err := json.Unmarshal(provider, &d.KeyProvider); err != nil {
			return d, vm.Refuse(vm.CodeEvents, "the key-provider event of the machine is not dstack's: %.100q", err.Error())
		}
	}
	return d, nil
}

// applicationEvents returns the names of the events behind system-ready. A
// boot event among them is the application's imitation.
func applicationEvents(log eventlog.Log) (names []string, err error) {
	ready := false
	for i, e := range log {
		if e.Type != eventlog.Runtime {
			continue
		}
		if !ready {
			ready = e.Name == dstackReady
			continue
		}
		for _, boot := range dstackOnce {
			if e.Name == boot {
				return nil, vm.Refuse(vm.CodeEvents, "event %d measures %s after the boot was over", i, boot).
					On(boot, "behind "+dstackReady, "before it").Try("the application imitates a boot event: do not trust it")
			}
		}
		names = append(names, e.Name)
	}
	if !ready {
		return nil, vm.Refuse(vm.CodeEvents, "the log does not tell boot from application").
			On(dstackReady, "absent", "once").Try("the machine was still booting when it made the quote, or is none of dstack's")
	}
	return names, nil
}

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

// Versions of the binding at launch, the first byte of MR_CONFIG_ID.
const (
	bindsCompose  = 1 // the digest of app-compose.json
	bindsApp      = 2 // Keccak-256( digest ‖ app id ‖ key provider ‖ its id )
	bindsDocument = 3 // the digest of an MrConfigV3 document
)

const documentDomain = "dstack-mr-config-v3:"

// DocumentDigest is what an MrConfigV3 document is bound by: HOST_DATA of
// SEV-SNP, and MR_CONFIG_ID of TDX behind its version byte. It is
// SHA-256( "dstack-mr-config-v3:" ‖ 0x00 ‖ document ), over the very bytes.
func DocumentDigest(document []byte) vm.Hash {
	h := sha256.New()
	h.Write([]byte(documentDomain))
	h.Write([]byte{0})
	h.Write(document)
	return vm.Hash(h.Sum(nil))
}

// CheckBinding holds what the machine was launched for against what it
// measured, and notes the form in Binding. Zero means that nothing was bound.
// Version 2 needs the app-compose document, version 3 its own; without it the
// binding is left open.
func (d *Dstack) CheckBinding(id vm.Register, app *AppCompose, document []byte) error {
	if id.IsZero() {
		return nil
	}
	var want vm.Register
	want[0] = id[0]
	switch id[0] {
	case bindsCompose:
		copy(want[1:], d.Compose[:])
	case bindsApp:
		if app == nil {
			return nil
		}
		digest, err := d.keccak(*app)
		if err != nil {
			return err
		}
		copy(want[1:], digest)
	case bindsDocument:
		if document == nil {
			return nil
		}
		digest := DocumentDigest(document)
		copy(want[1:], digest[:])
		if id == want {
			if err := d.agrees(document); err != nil {
				return err
			}
		}
	default:
		return vm.Refuse(vm.CodeConfig, "MR_CONFIG_ID is of no form that dstack has").On("MR_CONFIG_ID", id.String(), "01…, 02… or 03…")
	}
	if id != want {
		return vm.Refuse(vm.CodeConfig, "the machine was launched for another application than it measured").
			On("MR_CONFIG_ID", id.String(), want.String()).Try("the host may have swapped the application: do not trust it")
	}
	d.Binding = fmt.Sprintf("MR_CONFIG_ID version %d", id[0])
	return nil
}

func (d *Dstack) keccak(app AppCompose) ([]byte, error) {
	appID, err := hex.DecodeString(d.AppID)
	if err != nil {
		return nil, vm.Refuse(vm.CodeConfig, "the machine's app id is not hex")
	}
	provider, err := hex.DecodeString(app.KeyProviderID)
	if err != nil {
		return nil, vm.Refuse(vm.CodeConfig, "key_provider_id of app-compose.json is not hex")
	}
	h := sha3.NewLegacyKeccak256()
	h.Write(d.Compose[:])
	h.Write(appID)
	h.Write([]byte{app.provider()})
	h.Write(provider)
	return h.Sum(nil), nil
}

// Document is MrConfigV3, as far as it is compared.
type Document struct {
	Version    int     `json:"version"`
	AppID      string  `json:"app_id"`
	Compose    vm.Hash `json:"compose_hash"`
	InstanceID string  `json:"instance_id"`

	KeyProvider   string `json:"key_provider"`
	KeyProviderID string `json:"key_provider_id"`
}

// ParseDocument reads an MrConfigV3 document.
func ParseDocument(b []byte) (doc Document, err error) {
	if len(b) > vm.MaxEventsSize {
		return doc, vm.Refuse(vm.CodeTooLarge, "MrConfigV3 document has %d bytes, want at most %d", len(b), vm.MaxEventsSize)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return doc, vm.Refuse(vm.CodeMalformed, "MrConfigV3 document: %.200q", err.Error())
	}
	if doc.Version != bindsDocument {
		return doc, vm.Refuse(vm.CodeMalformed, "MrConfigV3 document has version %d, want %d", doc.Version, bindsDocument)
	}
	return doc, nil
}

// agrees compares a bound document with what was measured.
func (d *Dstack) agrees(document []byte) error {
	doc, err := ParseDocument(document)
	switch {
	case err != nil:
		return err
	case doc.Compose != d.Compose:
		return vm.Refuse(vm.CodeConfig, "the machine was launched for another application than it measured").
			On(dstackCompose, d.Compose.String(), doc.Compose.String())
	case doc.AppID != "" && doc.AppID != d.AppID:
		return vm.Refuse(vm.CodeConfig, "the machine was launched for another application id than it measured").On(dstackAppID, d.AppID, doc.AppID)
	case doc.InstanceID != "" && doc.InstanceID != d.InstanceID:
		return vm.Refuse(vm.CodeConfig, "the machine was launched as another instance than it measured").On(dstackInstance, d.InstanceID, doc.InstanceID)
	}
	return nil
}
