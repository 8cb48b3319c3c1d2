package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"golang.org/x/crypto/sha3"

	"github.com/secretvm/secretvm/vm"
)

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
