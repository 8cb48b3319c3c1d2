package api

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// Keys has the keys that the key manager released for what the measured config
// grants, 32 bytes each: by name, as vm.API.KeyNames has it, and epoch. The caller
// wipes them.
type Keys interface {
	Key(name string, epoch uint64) ([]byte, error)
}

// scopeService is the scope of keys that all machines of a service share.
const scopeService = "service"

// labelPath begins the info of each step from a path's key to one below it.
const labelPath = "secretvm/v1/app-key:"

// answerKey gives the key of a path: that of its first name from the key manager,
// and for each name behind it HKDF-SHA-256 of the one before, without salt, info
// the label and the name. So who has the key of a path has all below it, and none
// beside it.
func (s *Server) answerKey(r request) (any, error) {
	query := r.URL.Query()
	path, grant := query.Get("path"), vm.GrantKey
	if err := vm.CheckKeyPath(path); err != nil {
		return nil, vm.Refuse(vm.CodeInvalid, "%v", err)
	}
	switch scope := query.Get("scope"); scope {
	case "", scopeService:
	case guestapi.ScopeInstance:
		grant = vm.GrantInstanceKey
	default:
		return nil, vm.Refuse(vm.CodeInvalid, "there is no such scope").On("scope", fmt.Sprintf("%.20q", scope), scopeService+" or "+guestapi.ScopeInstance)
	}
	if err := s.need(r, grant+path); err != nil {
		return nil, err
	}
	epoch := s.opt.Config.KMS.Epoch
	if text := query.Get("epoch"); text != "" {
		var err error
		if epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, vm.Refuse(vm.CodeInvalid, "the epoch is not a number")
		}
	}
	names := strings.Split(path, "/")
	key, err := s.opt.Keys.Key(grant+names[0], epoch)
	if err != nil {
		return nil, err
	}
	for _, name := range names[1:] {
		below, err := hkdf.Key(sha256.New, key, nil, labelPath+name, sha256.Size)
		clear(key)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		key = below
	}
	defer clear(key)
	return map[string]string{"key": hex.EncodeToString(key)}, nil
}
