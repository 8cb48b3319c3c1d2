package types

import "encoding/binary"

// Prefix is the first byte of the key of each kind of entry in the module's
// store. The parts below follow it, where a text that others follow ends with a
// zero byte and numbers are big-endian: what a proof of the state is asked for
// (package proof).
type Prefix uint8

// The prefixes of the module's store; part of the state's format.
const (
	PrefixParams     Prefix = 0  // Params
	PrefixNewest     Prefix = 2  // the newest Anchor
	PrefixAnchors    Prefix = 3  // height (u64, sign bit flipped): Anchor
	PrefixServices   Prefix = 4  // id: Service
	PrefixImages     Prefix = 5  // service, index (u64): Image
	PrefixGrants     Prefix = 6  // id: Grant
	PrefixLog        Prefix = 7  // service, number (u64): id of a grant
	PrefixRefusals   Prefix = 8  // service, number (u64): Refusal
	PrefixInstances  Prefix = 9  // service, vm_uid: Instance
	PrefixCounters   Prefix = 10 // service: Counters
	PrefixPlatforms  Prefix = 11 // service, image (u64), n (u64): PlatformRows
	PrefixIdentities Prefix = 12 // decision.Identity.Digest: ImageSet
	PrefixSealed     Prefix = 13 // service, name: SealedSlot
	PrefixChanges    Prefix = 14 // service, number (u64): Change
	PrefixOwned      Prefix = 15 // owner, service: nothing
)

// ServiceKey is the store's key of a service.
func ServiceKey(id string) []byte { return append([]byte{byte(PrefixServices)}, id...) }

// ImageKey is the store's key of an image.
func ImageKey(service string, index uint64) []byte {
	return binary.BigEndian.AppendUint64(below(PrefixImages, service), index)
}

// GrantKey is the store's key of a grant.
func GrantKey(id []byte) []byte { return append([]byte{byte(PrefixGrants)}, id...) }

// InstanceKey is the store's key of a machine.
func InstanceKey(service, uid string) []byte { return append(below(PrefixInstances, service), uid...) }

// SealedKey is the store's key of sealed content.
func SealedKey(service, name string) []byte { return append(below(PrefixSealed, service), name...) }

// RefusalKey is the store's key of a refusal.
func RefusalKey(service string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(below(PrefixRefusals, service), number)
}

// ChangeKey is the store's key of a change.
func ChangeKey(service string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(below(PrefixChanges, service), number)
}

func below(p Prefix, service string) []byte {
	return append(append([]byte{byte(p)}, service...), 0)
}
