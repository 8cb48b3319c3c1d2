package kms

import (
	"context"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

// server answers the module's messages.
type server struct{ Keeper }

var _ types.MsgServer = server{}

// CreateService registers <owner>/<name>. Nobody can take a name under another
// address, and a second registration is refused, not merged.
func (s server) CreateService(ctx context.Context, m *types.MsgCreateService) (*types.MsgCreateServiceResponse, error) {
	id := m.Owner + "/" + m.Name
	exists, err := s.services.Has(ctx, id)
	if err != nil {
		return nil, err
	}
	if exists {
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "service %s is there already, and is never replaced", id))
	}
	block := sdk.UnwrapSDKContext(ctx)
	service := types.Service{Id: id, Owner: m.Owner, Name: m.Name, Height: block.BlockHeight(), Time: block.BlockTime().Unix()}
	if err := s.services.Set(ctx, id, service); err != nil {
		return nil, err
	}
	return &types.MsgCreateServiceResponse{Service: id}, nil
}

// AddImage lets machines with these registers have the service's keys. What is
// there is never replaced: another set of registers is another image.
func (s server) AddImage(ctx context.Context, m *types.MsgAddImage) (*types.MsgAddImageResponse, error) {
	service, err := s.Service(ctx, m.Service)
	if err != nil {
		return nil, err
	}
	if service.Owner != m.Owner {
		return nil, types.Fail(vm.Refuse(vm.CodePermission, "only the owner of a service adds images to it").On("owner", m.Owner, service.Owner))
	}
	block := sdk.UnwrapSDKContext(ctx)
	image := types.Image{
		Index: service.Images, Mrtd: m.Mrtd, Rtmr0: m.Rtmr0, Rtmr1: m.Rtmr1, Rtmr2: m.Rtmr2, Rtmr3: m.Rtmr3,
		Description: m.Description, RootHash: m.RootHash, Template: m.Template,
		Height: block.BlockHeight(), Time: block.BlockTime().Unix(),
	}
	registers, err := image.Decision()
	if err != nil {
		return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "add image: %v", err))
	}
	if err := checkTemplate(registers, m.Service, block.ChainID()); err != nil {
		return nil, err
	}
	images, err := s.Images(ctx, m.Service)
	if err != nil {
		return nil, err
	}
	for _, old := range images {
		if known, err := old.Decision(); err != nil {
			return nil, err
		} else if known.Identity == registers.Identity {
			return nil, types.Fail(vm.Refuse(vm.CodeExists, "image %d of %s has the same registers", old.Index, m.Service))
		}
	}
	if len(images) >= maxImages {
		return nil, types.Fail(vm.Refuse(vm.CodeTooLarge, "service %s has %d images, which is the most there can be", m.Service, len(images)))
	}
	if err := s.images.Set(ctx, collections.Join(service.Id, image.Index), image); err != nil {
		return nil, err
	}
	service.Images++
	if err := s.services.Set(ctx, service.Id, service); err != nil {
		return nil, err
	}
	return &types.MsgAddImageResponse{Image: image.Index}, nil
}

// checkTemplate holds what explains RTMR3, where the owner gave it, to RTMR3
// itself: an explanation that does not explain would mislead later.
func checkTemplate(image decision.Image, service, chainID string) error {
	if image.Template == nil {
		return nil
	}
	cfg := *image.Template
	switch {
	case cfg.InstanceID != vm.NoInstance:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: a template has no instance").On("instance_id", cfg.InstanceID, vm.NoInstance))
	case cfg.Service != service:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: the template is another service's").On("service", cfg.Service, service))
	case cfg.KMS.ChainID != chainID:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: the template names another chain").On("kms.chain_id", cfg.KMS.ChainID, chainID))
	}
	want, err := decision.TemplateRegister(image.RootHash, cfg)
	if err != nil {
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: %v", err))
	}
	if image.RTMR3 != want {
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: rtmr3 does not follow from root_hash and template").On("rtmr3", image.RTMR3.String(), want.String()))
	}
	return nil
}
