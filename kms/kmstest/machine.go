// Package kmstest has what tests bring to a key manager that runs: a node in
// this process, owners' transactions, an image, and booted machines of the soft
// TEE. Like httptest, it is imported by tests alone.
package kmstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// RootHash and Launch are what every machine here was built and launched with.
var (
	RootHash = vm.HashOf([]byte("rootfs"))
	Launch   = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// Config is what a machine of a service measures: the service's id is
// <owner>/<name>, instance a UID of 32 hex digits.
func Config(service, compose, instance string, kms vm.KMS) vm.Config {
	return vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte(compose)), Service: service, KMS: kms,
		InstanceID: instance, TLS: "self", Images: "digest", GPU: "none",
	}
}

// Instance is the UID of the machine of a number.
func Instance(number int) string { return fmt.Sprintf("%032x", number) }

// Image is the message by which owner registers what cfg's machines measure.
func Image(owner string, cfg vm.Config) (*types.MsgAddImage, error) {
	template, err := cfg.Template().Canonical()
	if err != nil {
		return nil, err
	}
	events, err := vm.BootEvents(RootHash, cfg.Template())
	if err != nil {
		return nil, err
	}
	registers, err := vm.Replay(events)
	if err != nil {
		return nil, err
	}
	return &types.MsgAddImage{
		Owner: owner, Service: cfg.Service,
		Platforms: []types.Platform{{Tee: "tdx", Mrtd: Launch.MRTD[:], Rtmr0: Launch.RTMR[0][:], Shape: "2 vCPU 4 GiB"}},
		Rtmr1:     Launch.RTMR[1][:], Rtmr2: Launch.RTMR[2][:], Rtmr3: registers[3][:], RootHash: RootHash[:], Template: template,
	}, nil
}

// Machine is a booted machine of the soft TEE.
type Machine struct {
	*emulator.Machine

	// Request asks for the key of its disk, Disk.
	Request client.Request
	Disk    keys.ID
}

// Boot starts a machine whose TEE belongs to pki and extends what cfg measures.
func Boot(pki *emulator.PKI, cfg vm.Config) (*Machine, error) {
	at := Launch
	var err error
	if at.MRConfigID, err = cfg.ConfigID(); err != nil {
		return nil, err
	}
	events, err := vm.BootEvents(RootHash, cfg)
	if err != nil {
		return nil, err
	}
	soft, err := emulator.New(pki, at)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if _, err := soft.Extend(e.Register, e.Digest); err != nil {
			return nil, err
		}
	}
	disk := keys.Disk(cfg.Service, cfg.InstanceID)
	return &Machine{Machine: soft, Disk: disk, Request: client.Request{Config: cfg, Events: events, Keys: []keys.ID{disk}}}, nil
}

// Quote implements client.Quoter.
func (m *Machine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return m.Machine.Quote(reportData)
}

// Client is the HTTP of the machine of a number, from an address of its own, as
// machines have: nodes bound what one address may ask. network is the second
// byte of its address.
func Client(network byte, number int) *http.Client {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, network, byte(number>>8), byte(number))}}
	return &http.Client{
		Timeout:       40 * time.Second,
		Transport:     &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: 30 * time.Second, MaxConnsPerHost: 4, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
