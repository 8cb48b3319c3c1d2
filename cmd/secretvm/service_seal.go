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
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
)

// newServiceSealCommand makes env and registry: what is sealed for machines.
func newServiceSealCommand(s *serviceChoice, name string) *cobra.Command {
	short, flag, read := "The workload's environment, which only its machines can read", "env-file", readEnv
	if name == "registry" {
		short, flag, read = "Credentials for image registries, which only the service's machines can read", "docker-config", readRegistry
	}
	var file string
	var remove bool
	set := &cobra.Command{
		Use: "set SERVICE", Short: "Encrypt it here and put it on the ledger, after the upgrade delay",
		Long: `set encrypts the file on this computer to a key that only machines of the service
get, and puts the ciphertext on the ledger. The group key is compared with
--group-key or with the owner's own node before anything is encrypted. It is that
of the newest epoch that the configs of all images name.`,
		Example: "  secretvm service " + name + " set guestbook --" + flag + " FILE", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			if remove == (file != "") {
				return &exitError{exitUsage, fmt.Errorf("--%s FILE or --remove is needed", flag)}
			}
			if remove {
				return s.change(c, name+" removed", "seal", "--service", id, "--name", name, "--epoch", "0")
			}
			return s.seal(ctx, c, id, name, file, read)
		}),
	}
	set.Flags().StringVar(&file, flag, "", "`FILE` to read; its contents never show")
	set.Flags().BoolVar(&remove, "remove", false, "give machines none any more, at once")
	c := &cobra.Command{Use: name, Short: short}
	c.AddCommand(set)
	return c
}

func (s *serviceChoice) seal(ctx context.Context, c *cobra.Command, id, name, file string, read func([]byte) ([]byte, error)) error {
	raw, err := readAtMost(file, keys.MaxCiphertext)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer clear(raw)
	plain, err := read(raw)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("%s: %w", file, err)}
	}
	defer clear(plain)
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

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// readEnv reads NAME=VALUE lines, with comments, "export" and quotes, and writes
// what machines read: one JSON object with sorted names. Errors name lines and
// never values.
func readEnv(raw []byte) ([]byte, error) {
	found := map[string]string{}
	for n, line := range strings.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !variableName.MatchString(name) {
			return nil, fmt.Errorf("line %d: want NAME=VALUE", n+1)
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("line %d: %s is set twice", n+1, name)
		}
		value, ok = unquote(value)
		if !ok {
			return nil, fmt.Errorf("line %d: the value of %s has an open or stray quote, or bytes that are no text", n+1, name)
		}
		found[name] = value
	}
	if len(found) == 0 {
		return nil, errors.New("it sets nothing")
	}
	return compact(found)
}

var escapes = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n", `\t`, "\t", `\$`, "$")

func unquote(v string) (string, bool) {
	if strings.ContainsRune(v, 0) || strings.ToValidUTF8(v, "") != v {
		return "", false
	}
	if v == "" || v[0] != '"' && v[0] != '\'' {
		return v, true
	}
	if len(v) < 2 || v[len(v)-1] != v[0] {
		return "", false
	}
	inner := v[1 : len(v)-1]
	if v[0] == '\'' {
		return inner, !strings.Contains(inner, "'")
	}
	rest := strings.ReplaceAll(strings.ReplaceAll(inner, `\\`, ""), `\"`, "")
	return escapes.Replace(inner), !strings.ContainsAny(rest, `"`) && !strings.HasSuffix(rest, `\`)
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
