package vm

import (
	"crypto/sha512"
	"fmt"
)

// The application's log is to containers what the boot events are to the
// machine. No register of a TEE is free for it: what is left of them after the
// boot is part of the machine's identity. So the machine keeps it in a register
// of its own, which begins as zeros with each boot, and quotes about it
// (ApplicationReportData).
const (
	ApplicationRegister = 4   // in Event.Register: none of the TEE's
	MaxServiceEvents    = 128 // that one service may add in a boot
)

// ApplicationEvent makes the event that a service of the compose file adds. Its
// name is the service's and its own with a slash between; the digest is SHA-384
// over label, that name and payload, each length-prefixed.
func ApplicationEvent(service, name string, payload []byte) Event {
	name = service + "/" + name
	return Event{Register: ApplicationRegister, Name: name, Payload: payload, Digest: applicationDigest(name, payload)}
}

func applicationDigest(name string, payload []byte) Register {
	return sha512.Sum384(lengthPrefixed([]byte(labelApplicationEvent), []byte(name), payload))
}

// ReplayApplication folds an application's log into its register. An event that
// is of another register, too large, or whose digest does not follow from it is
// an error.
func ReplayApplication(events []Event) (r Register, err error) {
	if len(events) > MaxAPIServices*MaxServiceEvents {
		return r, fmt.Errorf("the application's log has %d events, want at most %d", len(events), MaxAPIServices*MaxServiceEvents)
	}
	for i, e := range events {
		switch {
		case e.Register != ApplicationRegister:
			return r, fmt.Errorf("event %d (%.80q) extends register %d, want the application's (%d)", i, e.Name, e.Register, ApplicationRegister)
		case len(e.Name) > MaxAPIServiceName+1+MaxEventName || len(e.Payload) > MaxEventPayload:
			return r, fmt.Errorf("event %d (%.80q) is too large", i, e.Name)
		case e.Digest != applicationDigest(e.Name, e.Payload):
			return r, fmt.Errorf("event %d (%.80q): the digest does not follow from its name and payload", i, e.Name)
		}
		r = r.Extend(e.Digest)
	}
	return r, nil
}

// ApplicationReportData is what a quote says about an application's log and, to
// be fresh, about data of whoever asks, at most 64 bytes: SHA-512 over the label,
// the register and data, each length-prefixed. The machine fills in the register.
func ApplicationReportData(register Register, data []byte) [64]byte {
	return sha512.Sum512(lengthPrefixed([]byte(labelApplication), register[:], data))
}

// Application is the attestation service's answer about the application's log.
type Application struct {
	Nonce    string   `json:"nonce"`    // lower-case hex of the caller's nonce
	Register Register `json:"register"` // what Events fold into
	Events   []Event  `json:"events"`
	Evidence Evidence `json:"evidence"` // over ApplicationReportData of register and nonce
}

// SignedMessage is what is signed of a payload that a container puts into a
// domain of its choice: label, the service of the compose file that asked, domain
// and payload, each length-prefixed. Ed25519 signs these bytes, ECDSA their
// SHA-256.
func SignedMessage(service, domain string, payload []byte) []byte {
	return lengthPrefixed([]byte(LabelSigned), []byte(service), []byte(domain), payload)
}

// SigningReportData is what the quote about a key that signs messages says: the
// raw key of Ed25519, 32 bytes, or the compressed point of secp256k1, 33, then
// zeros. Existing verifiers look for the former there; neither is anything that
// the machine quotes otherwise, since all else there is a digest.
func SigningReportData(public []byte) (rd [64]byte) {
	copy(rd[:], public)
	return rd
}
