package decision

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Platform is what firmware and shape of a machine measure.
type Platform struct {
	TEE    vm.TEE      // vm.TDX or vm.SNP
	MRTD   vm.Register // TDX
	RTMR0  vm.Register // TDX
	Launch vm.Register // SEV-SNP: the launch digest, with kernel and command line in it
}

// Image is one set of registers that may have the service's keys: any of its
// platforms with this software.
type Image struct {
	Index               uint64
	RTMR1, RTMR2, RTMR3 vm.Register // TDX; RTMR3 of the template config
	RootHash            vm.Hash     // with Template
	Template            *vm.Config  // nil: the owner gave the registers alone
	ActiveAt            int64       // Unix seconds of block time from which on machines get keys
	RevokedAt           int64       // Unix seconds; 0: not revoked
}

// Identity is all that is compared of a machine. Every field counts: there is
// no way to write that one does not.
type Identity struct {
	Platform
	RTMR1, RTMR2 vm.Register // TDX
	RTMR3        vm.Register // TDX: of the template config
	Template     vm.Hash     // SEV-SNP: digest of the template config, which HOST_DATA proves
}

// Identity is what a machine of the image on one of its platforms measures.
func (i Image) Identity(p Platform) (Identity, error) {
	switch p.TEE {
	case vm.TDX:
		return Identity{Platform: p, RTMR1: i.RTMR1, RTMR2: i.RTMR2, RTMR3: i.RTMR3}, nil
	case vm.SNP:
		if i.Template == nil {
			return Identity{}, fmt.Errorf("image %d: on SEV-SNP the template config is needed, because no register says it", i.Index)
		}
		digest, err := i.Template.Template().Digest()
		if err != nil {
			return Identity{}, fmt.Errorf("image %d: digest the template: %w", i.Index, err)
		}
		return Identity{Platform: p, Template: digest}, nil
	}
	return Identity{}, fmt.Errorf("image %d: platform of TEE %q, want %s or %s", i.Index, p.TEE, vm.TDX, vm.SNP)
}

const labelIdentity = "secretvm/v1/identity"

// Digest names the identity among all of a ledger: SHA-256 over label, service,
// TEE and each register, each behind its length as a big-endian uint32.
func (i Identity) Digest(service string) vm.Hash {
	var pre []byte
	for _, part := range [][]byte{
		[]byte(labelIdentity), []byte(service), []byte(i.TEE), i.MRTD[:], i.RTMR0[:], i.Launch[:],
		i.RTMR1[:], i.RTMR2[:], i.RTMR3[:], i.Template[:],
	} {
		pre = binary.BigEndian.AppendUint32(pre, uint32(len(part)))
		pre = append(pre, part...)
	}
	return sha256.Sum256(pre)
}

// TemplateRegister is RTMR3 of a machine that boots root under cfg's template:
// what an owner registers, so that one image serves every instance.
func TemplateRegister(root vm.Hash, cfg vm.Config) (vm.Register, error) {
	events, err := vm.BootEvents(root, cfg.Template())
	if err != nil {
		return vm.Register{}, fmt.Errorf("events of the template: %w", err)
	}
	registers, err := vm.Replay(events)
	if err != nil {
		return vm.Register{}, fmt.Errorf("replay the template: %w", err)
	}
	return registers[vm.RuntimeRegister], nil
}

// Images is a service's list of images, as a decision looks into it. Errors are
// the ledger's own trouble and end the decision.
type Images interface {
	// Match returns the images that contain an identity, in the order in which
	// they were added, those that are not active yet or no more too.
	Match(Identity) ([]Image, error)
	// Newest returns a few images, the newest first, to explain a refusal by.
	Newest() ([]Image, error)
	// Platforms returns the platforms of an image.
	Platforms(image uint64) ([]Platform, error)
}

// List is a short list of images.
type List []Listed

// Listed is an image with its platforms.
type Listed struct {
	Image
	Rows []Platform
}

var _ Images = List{}

// Match compares with each.
func (l List) Match(found Identity) (out []Image, err error) {
	for _, image := range l {
		for _, row := range image.Rows {
			identity, err := image.Identity(row)
			if err != nil {
				return nil, err
			}
			if identity == found {
				out = append(out, image.Image)
				break
			}
		}
	}
	return out, nil
}

// Newest returns all, the last first.
func (l List) Newest() (out []Image, err error) {
	for i := len(l) - 1; i >= 0; i-- {
		out = append(out, l[i].Image)
	}
	return out, nil
}

// Platforms returns the rows of an image.
func (l List) Platforms(image uint64) ([]Platform, error) {
	for _, i := range l {
		if i.Index == image {
			return i.Rows, nil
		}
	}
	return nil, nil
}
