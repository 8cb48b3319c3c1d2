package statetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Machine is the vm_uid of the one machine of each service.
const Machine = "00112233445566778899aabbccddeeff"

// ID is the id of the service of a number.
func ID(owner string, i int) string { return fmt.Sprintf("%s/s%07d", owner, i) }

// Services are n services as an export has them, from number first on.
func Services(owner string, first, n int) []types.ServiceState {
	out := make([]types.ServiceState, n)
	for i := range out {
		out[i] = Service(owner, ID(owner, first+i))
	}
	return out
}

// Service is a service with an image of two platforms, one grant, one machine and
// one change. What is a key or a digest in it does not compress.
func Service(owner, id string) types.ServiceState {
	digest := vm.HashOf([]byte(id))
	register := append(digest[:], digest[:16]...)
	image := types.Image{Rtmr1: register, Rtmr2: register, Rtmr3: register, Description: "base v1.2.3", Platforms: 2, AddedBy: owner}
	return types.ServiceState{
		Service:  types.Service{Id: id, Owner: owner, Name: id[len(owner)+1:], Height: 1, Time: 1, Policy: types.Policy{UpgradeDelay: 7 * 24 * 3600}},
		Counters: types.Counters{Images: 1, Platforms: 2, Grants: 1, Changes: 1},
		Images: []types.ImageState{{Image: image, Platforms: []types.Platform{
			{Tee: "tdx", Mrtd: register, Rtmr0: register, Shape: "2 vCPU 4 GiB"}, {Tee: "tdx", Mrtd: register, Rtmr0: bytes.Repeat([]byte{1}, 48)},
		}}},
		Changes:   []types.Change{{Height: 1, Time: 1, By: owner, Kind: types.ChangeAdd}},
		Grants:    []types.Grant{{Id: digest[:], Service: id, VmUid: Machine, HpkeKey: noise(digest, keys.RecipientKeySize), SessionKey: digest[:], Keys: types.FromIDs([]keys.ID{keys.Disk(id, Machine)})}},
		Instances: []types.Instance{{VmUid: Machine, Generation: 1, Grant: digest[:]}},
	}
}

// noise is n bytes that follow from a digest.
func noise(digest vm.Hash, n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	for len(out) < n {
		digest = sha256.Sum256(digest[:])
		out = append(out, digest[:]...)
	}
	return out[:n]
}
