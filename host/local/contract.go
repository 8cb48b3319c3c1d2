package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/vm"
)

// contractRequest is what the administrator of the contract and of the service
// have to send, once, before the contract gives this machine keys: its execute
// messages, which spell registers as lists of numbers.
type contractRequest struct {
	AddImage    contractImage    `json:"add_image_to_service"`          // by the service's administrator
	AddHardware contractHardware `json:"add_hw_registers_to_whitelist"` // by the contract's
}

type contractImage struct {
	Service     string         `json:"service_id"`
	Filter      contractFilter `json:"image_filter"`
	Description string         `json:"description"`
}

// contractFilter leaves no register out that the contract compares.
type contractFilter struct {
	MRConfigID numbers `json:"mr_config_id"`
	RTMR1      numbers `json:"rtmr1"`
	RTMR2      numbers `json:"rtmr2"`
	RTMR3      numbers `json:"rtmr3"`
}

type contractHardware struct {
	Pairs []contractPair `json:"pairs"`
}

type contractPair struct {
	MRTD  string `json:"mr_td"` // hex
	RTMR0 string `json:"rtmr0"`
}

// numbers is a register as the contract reads it.
type numbers vm.Register

// MarshalJSON writes a list of numbers.
func (n numbers) MarshalJSON() ([]byte, error) {
	out := make([]int, len(n))
	for i, b := range n {
		out[i] = int(b)
	}
	return json.Marshal(out)
}

// checkManager holds the flags against the key manager that the compose file
// chooses.
func (o Options) checkManager() error {
	m := o.Workload.Settings.Manager
	if m == nil {
		if len(o.KMSURLs) > 0 {
			return errors.New("--kms-url is for workloads that choose another key manager (x-secretvm.kms); up starts a KMS of its own for this one")
		}
		return nil
	}
	if len(o.KMSURLs) == 0 {
		return fmt.Errorf("%s chooses the key manager contract %s: say with --kms-url where nodes of %s answer (their REST interface)", o.Workload.Path, m.Address, m.KMS.ChainID)
	}
	if o.KMSNodes != 0 {
		return fmt.Errorf("--kms-nodes is for a KMS of up's own, and %s chooses the contract %s", o.Workload.Path, m.Address)
	}
	_, err := o.Workload.Config(m.Service(o.Workload.Settings.Service), m.KMS, vm.NoInstance)
	return err
}

// nameContract is the step kms where the workload chooses a contract: nothing is
// started, and what the machine gives up is said.
func (in *Installation) nameContract() (string, error) {
	m := in.o.Workload.Settings.Manager
	for _, weakness := range m.KMS.Weaknesses() {
		in.o.Warn("key manager %s: %s", m.KMS.Provider, weakness)
	}
	if in.o.TEE == vm.Soft {
		in.o.Warn("key manager %s: the real network gives machines in the soft TEE no keys, for their quotes are not Intel's", m.KMS.Provider)
	}
	in.status = kmsStatus{ChainID: m.KMS.ChainID}
	return fmt.Sprintf("contract %.12s… on %s, %s; not ours", m.Address, m.KMS.ChainID, count(len(in.o.KMSURLs), "URL")), nil
}

// askContract is the step service there: it makes what the administrators have
// to send, which up cannot.
func (in *Installation) askContract(context.Context) (string, error) {
	m := in.o.Workload.Settings.Manager
	name := in.o.Workload.Settings.Service
	in.service = chainService{ID: m.Service(name)}
	var err error
	if in.config, err = in.o.Workload.Config(in.service.ID, m.KMS, in.folder.Instance()); err != nil {
		return "", err
	}
	in.config.Dev = in.image.Manifest.Dev
	if err := in.config.Unsupported(); err != nil {
		return "", fmt.Errorf("x-secretvm in %s: %w", in.o.Workload.Path, err)
	}
	request, err := in.image.contractRequest(name, in.config)
	if err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the request to the contract: %w", err)
	}
	file := filepath.Join(in.folder.Dir(), "contract.json")
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("write the request to the contract: %w", err)
	}
	in.reports.notes = append(in.reports.notes, "keys are given once the contract's administrators have sent the messages in "+file)
	return shorten(in.service.ID) + ", messages in contract.json", nil
}

// contractRequest is about one machine: the contract knows no template, so that
// each instance is another image to it.
func (im Image) contractRequest(service string, cfg vm.Config) (r contractRequest, err error) {
	id, err := cfg.ConfigID()
	if err != nil {
		return r, err
	}
	events, err := vm.BootEvents(im.Manifest.Verity.RootHash, cfg)
	if err != nil {
		return r, err
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return r, err
	}
	p := im.Prediction
	r.AddImage = contractImage{
		Service: service, Filter: contractFilter{numbers(id), numbers(p.RTMR1), numbers(p.RTMR2), numbers(rtmr[vm.RuntimeRegister])},
		Description: fmt.Sprintf("%s %s, %s, compose %.12s", im.Manifest.Name, im.Manifest.Release, p.Shape, cfg.ComposeHash),
	}
	r.AddHardware.Pairs = []contractPair{{p.MRTD.String(), p.RTMR0.String()}}
	return r, nil
}
