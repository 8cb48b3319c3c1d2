package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/vm"
)

// chainService is a service as the KMS shows it.
type chainService struct {
	ID     string       `json:"id"`
	Images []chainImage `json:"images"`
}

type chainImage struct {
	MRTD  vm.Register `json:"mrtd"`
	RTMR0 vm.Register `json:"rtmr0"`
	RTMR1 vm.Register `json:"rtmr1"`
	RTMR2 vm.Register `json:"rtmr2"`
	RTMR3 vm.Register `json:"rtmr3"`
}

func (s chainService) has(r Registration) bool {
	for _, i := range s.Images {
		if i == (chainImage{r.MRTD, r.RTMR0, r.RTMR1, r.RTMR2, r.RTMR3}) {
			return true
		}
	}
	return false
}

// ensureService returns the owner's service, which is created unless it exists.
func (k *kms) ensureService(ctx context.Context, name string) (s chainService, created bool, err error) {
	err = k.ask(ctx, &s, "query", "kms", "service", name)
	if vm.CodeOf(err) != vm.CodeNoService {
		return s, false, err
	}
	var made struct {
		Service string `json:"service"`
	}
	err = k.ask(ctx, &made, "tx", "kms", "create-service", name)
	return chainService{ID: made.Service}, true, err
}

// ensureImage registers r with the service unless the chain has it. The file
// that is registered is kept beside the machine, for the owner to read.
func (k *kms) ensureImage(ctx context.Context, s chainService, r Registration, file string) (added bool, err error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encode image registration: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return false, fmt.Errorf("write image registration: %w", err)
	}
	if s.has(r) {
		return false, nil
	}
	err = k.ask(ctx, nil, "tx", "kms", "add-image", s.ID, "--image", file)
	if vm.CodeOf(err) == vm.CodeExists {
		return false, nil
	}
	return true, err
}
