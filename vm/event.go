package vm

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// EventType is the tag of runtime events in their digest's preimage, the
// field's de-facto value for RTMR3 events.
const EventType uint32 = 0x08000001

// RuntimeRegister is the index of the RTMR that runtime events extend.
const RuntimeRegister = 3

// Names of the runtime events, in the order in which guest-init extends them.
const (
	EventImage        = "os-image-hash"     // payload: dm-verity root hash, 32 bytes
	EventCompose      = "compose-hash"      // payload: SHA-256 of the raw compose file
	EventFiles        = "docker-files-hash" // payload: SHA-256 of the files archive; absent without one
	EventConfig       = "config-hash"       // payload: SHA-256 of the canonical Config
	EventBootComplete = "boot-complete"     // empty payload; nothing after it is a boot event
)

// Limits of one runtime event, so that a verifier's work is bounded.
const (
	MaxEvents       = 256
	MaxEventName    = 64
	MaxEventPayload = 1024
)

// Event is one extension of one register. Digest is always recomputable from
// the other fields for runtime events (RuntimeEvent); for launch events, whose
// preimage may be a whole kernel, Payload holds a short description instead.
type Event struct {
	Register int      `json:"register"` // 0–3: RTMR index
	Name     string   `json:"name"`
	Payload  []byte   `json:"payload,omitempty"` // base64 in JSON
	Digest   Register `json:"digest"`
}

// RuntimeEvent makes the event that extends RTMR3 with name and payload. The
// digest is SHA-384( LE32(0x08000001) ‖ ":" ‖ name ‖ ":" ‖ payload ).
func RuntimeEvent(name string, payload []byte) Event {
	return Event{Register: RuntimeRegister, Name: name, Payload: payload, Digest: runtimeDigest(name, payload)}
}

func runtimeDigest(name string, payload []byte) Register {
	pre := binary.LittleEndian.AppendUint32(nil, EventType)
	pre = append(pre, ':')
	pre = append(pre, name...)
	pre = append(pre, ':')
	pre = append(pre, payload...)
	return sha512.Sum384(pre)
}

// CheckRuntime reports an error unless e is a well-formed runtime event whose
// digest follows from its name and payload.
func (e Event) CheckRuntime() error {
	switch {
	case e.Register != RuntimeRegister:
		return fmt.Errorf("event %q extends RTMR%d, want RTMR%d", e.Name, e.Register, RuntimeRegister)
	case e.Name == "" || len(e.Name) > MaxEventName:
		return fmt.Errorf("event name has %d bytes, want 1 to %d", len(e.Name), MaxEventName)
	case len(e.Payload) > MaxEventPayload:
		return fmt.Errorf("event %q has a payload of %d bytes, want at most %d", e.Name, len(e.Payload), MaxEventPayload)
	case e.Digest != runtimeDigest(e.Name, e.Payload):
		return fmt.Errorf("event %q: the digest does not follow from its name and payload", e.Name)
	}
	return nil
}

// Replay folds events into RTMR0–RTMR3, starting from zero registers.
func Replay(events []Event) ([4]Register, error) {
	var rtmr [4]Register
	if len(events) > MaxEvents {
		return rtmr, fmt.Errorf("event list has %d events, want at most %d", len(events), MaxEvents)
	}
	for i, e := range events {
		if e.Register < 0 || e.Register > 3 {
			return rtmr, fmt.Errorf("event %d (%q) names register %d, want 0 to 3", i, e.Name, e.Register)
		}
		rtmr[e.Register] = rtmr[e.Register].Extend(e.Digest)
	}
	return rtmr, nil
}

// BootEvents returns the runtime events of a machine that boots the image with
// the given dm-verity root hash under cfg, in order, boot-complete included.
func BootEvents(root Hash, cfg Config) ([]Event, error) {
	digest, err := cfg.Digest()
	if err != nil {
		return nil, err
	}
	events := []Event{RuntimeEvent(EventImage, root[:]), RuntimeEvent(EventCompose, cfg.ComposeHash[:])}
	if cfg.FilesHash != nil {
		events = append(events, RuntimeEvent(EventFiles, cfg.FilesHash[:]))
	}
	return append(events, RuntimeEvent(EventConfig, digest[:]), RuntimeEvent(EventBootComplete, nil)), nil
}
