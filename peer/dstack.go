package peer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
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
