package decision

import (
	"fmt"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// match finds the active image that the machine is.
func (d deciding) match(found Identity, root vm.Hash, cfg vm.Config) (uint64, *vm.Refusal, error) {
	images, err := d.chain.Images.Match(found)
	if err != nil {
		return 0, nil, fmt.Errorf("look for the machine's image: %w", err)
	}
	var waiting, revoked *Image
	for i, image := range images {
		switch {
		case image.RevokedAt != 0:
			revoked = &images[i]
		case image.ActiveAt > d.chain.Now:
			if waiting == nil || image.ActiveAt < waiting.ActiveAt {
				waiting = &images[i]
			}
		default:
			return image.Index, nil, nil
		}
	}
	switch {
	case waiting != nil: // in words that stay the same while it waits: the ledger counts what is repeated
		return 0, vm.Refuse(vm.CodePending, "the machine is image %d of service %s, which is announced and not active yet", waiting.Index, d.Service).
			On("time", "too early", at(waiting.ActiveAt)).Try("wait, as the service's upgrade delay wants it; users may look at the image meanwhile"), nil
	case revoked != nil:
		return 0, vm.Refuse(vm.CodeRetired, "the machine is image %d of service %s, which its owner revoked", revoked.Index, d.Service).
			On("revoked_at", at(revoked.RevokedAt), "not revoked").Try("boot the current image; a revoked one can be added again, and waits for the upgrade delay"), nil
	}
	refusal, err := d.explain(found, root, cfg)
	return 0, refusal, err
}

func at(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
