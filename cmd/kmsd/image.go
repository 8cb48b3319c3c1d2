package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// imageFile is the format of add-image's file.
type imageFile struct {
	MRTD        vm.Register     `json:"mrtd"`
	RTMR0       vm.Register     `json:"rtmr0"`
	RTMR1       vm.Register     `json:"rtmr1"`
	RTMR2       vm.Register     `json:"rtmr2"`
	RTMR3       *vm.Register    `json:"rtmr3"`
	Description string          `json:"description"`
	RootHash    *vm.Hash        `json:"root_hash"`
	Template    json.RawMessage `json:"template"`
}

// maxImageFile bounds what is read, in bytes.
const maxImageFile = 1 << 20

// readImage reads an image file into a message without owner and service.
func readImage(path string) ([]*types.MsgAddImage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxImageFile))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	msg, err := parseImage(b)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	return []*types.MsgAddImage{msg}, nil
}

func parseImage(b []byte) (*types.MsgAddImage, error) {
	var i imageFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&i); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, vm.Refuse(vm.CodeMalformed, "bytes trail the document")
	}
	msg := &types.MsgAddImage{
		Platforms: []types.Platform{{Tee: string(vm.TDX), Mrtd: i.MRTD[:], Rtmr0: i.RTMR0[:]}},
		Rtmr1:     i.RTMR1[:], Rtmr2: i.RTMR2[:], Description: i.Description,
	}
	if (i.RootHash == nil) != (len(i.Template) == 0) {
		return nil, vm.Refuse(vm.CodeInvalid, "root_hash and template come together or not at all")
	}
	if i.RootHash != nil {
		if err := explained(msg, &i); err != nil {
			return nil, err
		}
	}
	if i.RTMR3 == nil {
		return nil, vm.Refuse(vm.CodeInvalid, "rtmr3 is missing, and does not follow without root_hash and template")
	}
	msg.Rtmr3 = i.RTMR3[:]
	return msg, nil
}

// explained adds what rtmr3 is made of, and rtmr3 itself where it was left out.
// The file may write the template with any white space and order of fields.
func explained(msg *types.MsgAddImage, i *imageFile) error {
	var cfg vm.Config
	dec := json.NewDecoder(bytes.NewReader(i.Template))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return vm.Refuse(vm.CodeMalformed, "template: %v", err)
	}
	canonical, err := cfg.Canonical()
	if err != nil {
		return vm.Refuse(vm.CodeInvalid, "template: %v", err)
	}
	msg.RootHash, msg.Template = i.RootHash[:], canonical
	if i.RTMR3 != nil {
		return nil
	}
	events, err := vm.BootEvents(*i.RootHash, cfg)
	if err != nil {
		return vm.Refuse(vm.CodeInvalid, "template: %v", err)
	}
	registers, err := vm.Replay(events)
	if err != nil {
		return vm.Refuse(vm.CodeInvalid, "template: %v", err)
	}
	i.RTMR3 = &registers[vm.RuntimeRegister]
	return nil
}
