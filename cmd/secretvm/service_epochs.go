package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// epochKey is an epoch of the key manager whose group key is not only a
// stranger's word.
type epochKey struct {
	number uint64
	key    keys.PublicKey
}

// epochs lists the open epochs of the key manager, newest first, as far as the
// owner named their group keys or a node in the owner's own home says the same.
func (o *owner) epochs(ctx context.Context) (chainID string, out []epochKey, err error) {
	chainID, said, err := o.statuses(ctx, "")
	if err != nil {
		return "", nil, err
	}
	believed, err := o.believed(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, e := range said {
		if slices.ContainsFunc(believed, e.key.Equal) {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return "", nil, vm.Refuse(vm.CodeConfig, "the node's group key is %.16s…, want %.16s…", said[0].key, believed[0]).
			Try("ask another node: this one belongs to another key manager, or lies")
	}
	return chainID, out, nil
}

// believed are the group keys that may be used: those that the owner named, else
// those of the owner's own node.
func (o *owner) believed(ctx context.Context) (out []keys.PublicKey, err error) {
	for _, text := range o.groupKeys {
		key, err := keys.ParsePublicKeyHex(text)
		if err != nil {
			return nil, &exitError{exitUsage, fmt.Errorf("--group-key: %w", err)}
		}
		out = append(out, key)
	}
	if len(out) != 0 {
		return out, nil
	}
	url, err := o.own()
	if err != nil {
		return nil, &exitError{exitUsage, errors.New("name the key manager's group key with --group-key: a node's word alone does not do")}
	}
	_, mine, err := o.statuses(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("ask the own node for the group key (or name it with --group-key): %w", err)
	}
	for _, e := range mine {
		out = append(out, e.key)
	}
	return out, nil
}

// statuses asks a node (the one of the commands when url is empty) for the keys
// of all open epochs, newest first. Those that are being made are left out.
func (o *owner) statuses(ctx context.Context, url string) (chainID string, out []epochKey, err error) {
	ask := func(path string) (s wire.Status, err error) {
		if url == "" {
			return s, o.read(ctx, path, &s)
		}
		return s, readFrom(ctx, url, path, &s)
	}
	oldest, err := ask(wire.PathStatus)
	if err != nil {
		return "", nil, err
	}
	out = []epochKey{{oldest.Epoch, oldest.GroupKey}}
	for _, epoch := range oldest.Open {
		if epoch == oldest.Epoch {
			continue
		}
		s, err := ask(wire.PathStatus + "?epoch=" + strconv.FormatUint(epoch, 10))
		switch {
		case vm.CodeOf(err) == vm.CodeUnavailable:
		case err != nil:
			return "", nil, err
		default:
			out = append(out, epochKey{s.Epoch, s.GroupKey})
		}
	}
	slices.SortFunc(out, func(a, b epochKey) int { return cmp.Compare(b.number, a.number) })
	return oldest.ChainID, out, nil
}

// manager is the key manager as machines' configs name it: the newest epoch, and
// the earlier ones that are still open, whose keys a disk or something sealed may
// need once more.
func (o *owner) manager(ctx context.Context) (vm.KMS, error) {
	chainID, epochs, err := o.epochs(ctx)
	if err != nil {
		return vm.KMS{}, err
	}
	out := vm.KMS{ChainID: chainID, GroupKey: epochs[0].key.String(), Epoch: epochs[0].number}
	for _, e := range epochs[1:min(len(epochs), 1+vm.MaxPrevious)] {
		out.Previous = append(out.Previous, vm.EpochKey{Epoch: e.number, GroupKey: e.key.String()})
	}
	return out, nil
}

// epochFor chooses the epoch to seal to: the newest whose key the configs of all
// images name that have keys, or will have. Machines ask for no other.
func epochFor(epochs []epochKey, images []wire.Image) (epochKey, error) {
	var blocked *wire.Image
	for _, e := range epochs {
		without := slices.IndexFunc(images, func(i wire.Image) bool { return i.RevokedAt == nil && !names(i, e) })
		if without < 0 {
			return e, nil
		}
		if blocked == nil {
			blocked = &images[without]
		}
	}
	return epochKey{}, vm.Refuse(vm.CodeConfig, "image %d names the group key of no epoch that is open and believed, or not the same as the others: its machines could not open what is sealed", blocked.Index).
		Try("add an image that is made for the present group key, revoke the old one; or name all group keys with --group-key")
}

// names reports whether the config of an image's machines names the key of an
// epoch. Where the owner registered no config there is nothing to go by.
func names(i wire.Image, e epochKey) bool {
	if len(i.Template) == 0 {
		return true
	}
	cfg, err := vm.ParseConfig(i.Template)
	if err != nil {
		return false
	}
	for _, known := range append([]vm.EpochKey{{Epoch: cfg.KMS.Epoch, GroupKey: cfg.KMS.GroupKey}}, cfg.KMS.Previous...) {
		if known.Epoch == e.number && known.GroupKey == e.key.String() {
			return true
		}
	}
	return false
}
