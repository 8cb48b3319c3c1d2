package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
)

// newServiceSealCommand makes env and registry: what is sealed for machines.
func newServiceSealCommand(s *serviceChoice, name, short string) (c, set *cobra.Command) {
	c = &cobra.Command{Use: name, Short: short}
	set = &cobra.Command{
		Use: "set SERVICE", Short: "Encrypt it here and put it on the ledger, after the upgrade delay",
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	c.AddCommand(set)
	return c, set
}

const sealText = `set encrypts %s on this computer to a key that only machines of the service
get, and puts the ciphertext on the ledger. The group key is compared with
--group-key or with the owner's own node before anything is encrypted. It is that
of the newest epoch that the configs of all images name.`

// sealOrRemove runs set: read reads what is to be sealed, unless it is removed.
func (s *serviceChoice) sealOrRemove(set *cobra.Command, name, needed string, given func() bool, read func() ([]byte, error)) {
	var remove bool
	set.Flags().BoolVar(&remove, "remove", false, "give machines none any more, at once")
	set.RunE = s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
		if remove == given() {
			return &exitError{exitUsage, fmt.Errorf("%s or --remove is needed", needed)}
		}
		if remove {
			return s.change(c, name+" removed", "seal", "--service", id, "--name", name, "--epoch", "0")
		}
		plain, err := read()
		if err != nil {
			return err
		}
		defer clear(plain)
		return s.seal(ctx, c, id, name, plain)
	})
}

// newServiceRegistryCommand makes registry.
func newServiceRegistryCommand(s *serviceChoice) *cobra.Command {
	c, set := newServiceSealCommand(s, "registry", "Credentials for image registries, which only the service's machines can read")
	set.Long = fmt.Sprintf(sealText, "the file")
	set.Example = "  secretvm service registry set guestbook --docker-config ~/.docker/config.json"
	var file string
	set.Flags().StringVar(&file, "docker-config", "", "`FILE` to read; its contents never show")
	s.sealOrRemove(set, "registry", "--docker-config FILE", func() bool { return file != "" }, func() ([]byte, error) {
		raw, err := readAtMost(file, keys.MaxCiphertext)
		if err != nil {
			return nil, fmt.Errorf("read registry: %w", err)
		}
		defer clear(raw)
		plain, err := readRegistry(raw)
		if err != nil {
			return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", file, err)}
		}
		return plain, nil
	})
	return c
}

func (s *serviceChoice) seal(ctx context.Context, c *cobra.Command, id, name string, plain []byte) error {
	_, epochs, err := s.owner.epochs(ctx)
	if err != nil {
		return err
	}
	var service wire.Service
	if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
		return err
	}
	epoch, err := epochFor(epochs, service.Images)
	if err != nil {
		return err
	}
	sealed, err := keys.Encrypt(rand.Reader, epoch.key, keys.ID{Service: id, Scope: keys.ScopeService, Name: name, Epoch: epoch.number}, plain, nil)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "secretvm-seal-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "ciphertext")
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		return err
	}
	what := fmt.Sprintf("%s sealed to epoch %d of the group key (%.16s…)", name, epoch.number, epoch.key)
	if delay := service.Policy.UpgradeDelay; delay > 0 && len(service.Images) > 0 {
		what += fmt.Sprintf(", for machines after %s,", span(delay))
	}
	return s.change(c, what, "seal", "--service", id, "--name", name, "--epoch", fmt.Sprint(epoch.number), "--ciphertext", "@"+path)
}

// readRegistry takes the auths of docker's config.json.
func readRegistry(raw []byte) ([]byte, error) {
	var config struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, errors.New("it is not a docker config.json")
	}
	if len(config.Auths) == 0 {
		return nil, errors.New("it has no auths (docker may keep them in a credential store)")
	}
	for host, a := range config.Auths {
		if a.Auth == "" {
			return nil, fmt.Errorf("it has no auth for %q (docker may keep it in a credential store)", host)
		}
	}
	return compact(map[string]any{"auths": config.Auths})
}

func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errors.New("it cannot be encoded")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
