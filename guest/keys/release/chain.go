package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	guest "github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/vm"
)

// release asks the key manager of the measured config.
func (m machine) release(ctx context.Context, w *work) (guest.Answer, error) {
	ask := m.releaseByChain
	if m.config.KMS.Provider == vm.ProviderSecretNetwork {
		ask = m.releaseByContract
	}
	released, err := ask(ctx, w)
	return guest.Answer{Released: released}, err
}

// newClient asks the nodes of a kmsd chain.
func (m machine) newClient(ctx context.Context, w *work) (*client.Client, error) {
	kms, err := client.New(m.endpoints, m.config.KMS)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	kms.Waiting = w.waiting(ctx)
	return kms, nil
}

// advance tells the chain about the disk.
func (m machine) advance(ctx context.Context, w *work, q guest.Advance) (a guest.Answer, err error) {
	defer clear(q.Voice)
	kms, err := m.newClient(ctx, w)
	if err != nil {
		return a, err
	}
	return a, kms.Advance(ctx, q.Voice, q.Generation, q.Wait)
}

// releaseByChain asks for the keys of all epochs that are open.
func (m machine) releaseByChain(ctx context.Context, w *work) (*guest.Released, error) {
	kms, err := m.newClient(ctx, w)
	if err != nil {
		return nil, err
	}
	quote := func(ctx context.Context, about vm.Release) (vm.Evidence, error) {
		quoted, err := w.quote(ctx, guest.About{BlockHash: about.BlockHash, HPKEKey: about.HPKEKey, SessionKey: about.SessionKey})
		if err != nil {
			return vm.Evidence{}, err
		}
		return *quoted.Evidence, nil
	}
	epochs := epochsOf(m.config.KMS)
	for {
		session, err := kms.ReleaseBy(ctx, quote, client.Request{Config: m.config, Events: m.events, Keys: wanted(m.config, epochs)})
		if err == nil {
			defer session.Close()
			return m.released(session, epochs)
		}
		open := withoutClosed(epochs, err)
		if len(open) == len(epochs) {
			return nil, err
		}
		epochs = open
	}
}

// released takes out of a session what guestd needs.
func (m machine) released(session *client.Session, epochs []uint64) (*guest.Released, error) {
	block, offered, heard := session.Decided()
	r := &guest.Released{
		Generation: session.Grant().Generation, Suspects: session.Suspects(),
		Block: block, Offered: time.Since(offered), Heard: time.Since(heard),
	}
	var errs []error
	key := func(id keys.ID) guest.Secret {
		secret, err := session.Key(id)
		errs = append(errs, err)
		defer secret.Wipe()
		return secret.Bytes()
	}
	for i, epoch := range epochs {
		r.Disk = append(r.Disk, key(keys.Disk(m.config.Service, m.config.InstanceID).In(epoch)))
		for _, name := range namesOf(m.config, i) {
			r.Named = append(r.Named, guest.Named{Name: name, Epoch: epoch, Key: key(ID(m.config, name, epoch))})
		}
	}
	var err error
	if r.Environ, err = session.Env(); err != nil {
		errs = append(errs, fmt.Errorf("environment from the key manager: %w", err))
	}
	if r.Registry, err = session.Registry(); err != nil {
		errs = append(errs, fmt.Errorf("registry credentials from the key manager: %w", err))
	}
	r.Voice, err = session.Voice()
	if err := errors.Join(append(errs, err)...); err != nil {
		r.Wipe()
		return nil, err
	}
	return r, nil
}

// epochsOf lists the epochs whose keys a machine may need, its own first.
func epochsOf(kms vm.KMS) []uint64 {
	out := []uint64{kms.Epoch}
	for _, p := range kms.Previous {
		out = append(out, p.Epoch)
	}
	return out
}

// wanted lists the keys of some epochs. That the disk was last used, or something
// was sealed, under an earlier one is known only later.
func wanted(cfg vm.Config, epochs []uint64) (ids []keys.ID) {
	for _, epoch := range epochs {
		ids = append(ids, keys.Disk(cfg.Service, cfg.InstanceID).In(epoch))
		for _, name := range []string{"env", "registry"} { // nothing is made of these where nothing is sealed
			ids = append(ids, keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: name, Epoch: epoch})
		}
	}
	for i, epoch := range epochs {
		for _, name := range namesOf(cfg, i) {
			ids = append(ids, ID(cfg, name, epoch))
		}
	}
	return ids
}

// namesOf lists what containers are granted of the i-th epoch: of the machine's,
// and of the one before too, so that they can move what they keep.
func namesOf(cfg vm.Config, i int) []string {
	if i > 1 {
		return nil
	}
	return cfg.API.KeyNames()
}

// ID is the id of a name as vm.API.KeyNames has it: what signs is of the
// service, app/<name> of the service or the instance.
func ID(cfg vm.Config, name string, epoch uint64) keys.ID {
	id := keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: name, Epoch: epoch}
	if path, ok := strings.CutPrefix(name, vm.GrantKey); ok {
		id.Name = "app/" + path
	} else if path, ok := strings.CutPrefix(name, vm.GrantInstanceKey); ok {
		id.Name, id.Scope = "app/"+path, keys.InstanceScope(cfg.InstanceID)
	}
	return id
}

// withoutClosed leaves out the earlier epoch that the chain says is closed: its
// keys are gone for good, and a disk that was moved in time does not need them.
func withoutClosed(epochs []uint64, err error) []uint64 {
	var r *vm.Refusal
	if !errors.As(err, &r) || r.Code != vm.CodeInvalid || r.Field != "epoch" {
		return epochs
	}
	return slices.DeleteFunc(slices.Clone(epochs), func(e uint64) bool { return e != epochs[0] && strconv.FormatUint(e, 10) == r.Found })
}
