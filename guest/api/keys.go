package api

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// Keys has the keys that the key manager released: those that Wanted lists.
type Keys interface {
	Key(id keys.ID) (keys.Secret, error)
}

// Wanted lists the keys of an epoch that the API of a machine needs.
func Wanted(cfg vm.Config, epoch uint64) (ids []keys.ID) {
	for _, name := range cfg.API.KeyNames() {
		ids = append(ids, keyID(cfg, name, epoch))
	}
	return ids
}

// keyID is the id of a name as vm.API.KeyNames has it: what signs is of the
// service, app/<name> of the service or the instance.
func keyID(cfg vm.Config, name string, epoch uint64) keys.ID {
	id := keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: name, Epoch: epoch}
	if path, ok := strings.CutPrefix(name, vm.GrantKey); ok {
		id.Name = "app/" + path
	} else if path, ok := strings.CutPrefix(name, vm.GrantInstanceKey); ok {
		id.Name, id.Scope = "app/"+path, keys.InstanceScope(cfg.InstanceID)
	}
	return id
}

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
	case "", keys.ScopeService:
	case guestapi.ScopeInstance:
		grant = vm.GrantInstanceKey
	default:
		return nil, vm.Refuse(vm.CodeInvalid, "there is no such scope").On("scope", fmt.Sprintf("%.20q", scope), keys.ScopeService+" or "+guestapi.ScopeInstance)
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
	secret, err := s.opt.Keys.Key(keyID(s.opt.Config, grant+names[0], epoch))
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	key := secret.Bytes()
	for _, name := range names[1:] {
		below, err := hkdf.Key(sha256.New, key, nil, labelPath+name, keys.SecretSize)
		clear(key)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		key = below
	}
	defer clear(key)
	return map[string]string{"key": hex.EncodeToString(key)}, nil
}
