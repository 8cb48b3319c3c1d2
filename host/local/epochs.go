package local

import (
	"context"
	"strconv"

	"github.com/secretvm/secretvm/vm"
)

// identity is what a machine's config names of the chain: the newest epoch that
// has a key, and the earlier ones that are still open, whose keys a disk or
// something sealed may need once more.
func (k *kms) identity(ctx context.Context, oldest kmsStatus) (vm.KMS, error) {
	out := vm.KMS{ChainID: oldest.ChainID, GroupKey: oldest.GroupKey, Epoch: oldest.Epoch}
	for _, epoch := range oldest.Open { // in rising order; oldest is about the first of them
		if epoch == oldest.Epoch {
			continue
		}
		var s kmsStatus
		switch err := k.ask(ctx, &s, "status", "--epoch", strconv.FormatUint(epoch, 10)); {
		case vm.CodeOf(err) == vm.CodeUnavailable: // its key is being made
			continue
		case err != nil:
			return out, err
		}
		out.Previous = append([]vm.EpochKey{{Epoch: out.Epoch, GroupKey: out.GroupKey}}, out.Previous...)
		out.Epoch, out.GroupKey = s.Epoch, s.GroupKey
	}
	if len(out.Previous) > vm.MaxPrevious {
		out.Previous = out.Previous[:vm.MaxPrevious]
	}
	return out, nil
}
