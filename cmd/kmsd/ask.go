package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// askTimeout bounds one question to the node; a transaction waits for its block.
const askTimeout = 30 * time.Second

// url is the node to ask.
func (s *settings) url() (string, error) {
	if s.node != "" {
		return s.node, nil
	}
	url, err := s.folder().Endpoint()
	if os.IsNotExist(err) || url == "" {
		return "", vm.Refuse(vm.CodeUnavailable, "no node has run in %s yet", s.home).Try("kmsd start, or name a node with --node URL")
	}
	return url, err
}

// ask asks the node.
func (s *settings) ask(ctx context.Context, method, path string, in, out any) error {
	url, err := s.url()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return wire.Call(ctx, http.DefaultClient, method, url, path, in, out)
}

// service completes a bare name to an id under the local owner.
func (s *settings) service(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	owner, err := s.folder().Owner()
	if err != nil {
		return "", err
	}
	return owner.Address + "/" + name, nil
}
