package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

// sealedFlags say what an owner seals as a service's environment.
type sealedFlags struct {
	variables string   // file
	secrets   []string // NAME=FILE
	compose   string   // file or folder
}

// newServiceEnvCommand makes env.
func newServiceEnvCommand(s *serviceChoice) *cobra.Command {
	c, set := newServiceSealCommand(s, "env", "The workload's environment and secrets, which only its machines can read")
	set.Long = fmt.Sprintf(sealText, "variables and files") + `

Variables are those that x-secretvm.env of the measured compose file names, or
that one of its secrets comes from. Files are its secrets: containers find them
below /run/secrets, in memory. With --compose, every secret that the file takes
from a file beside it is sealed from there; --secret names a file for one of
them. What is set replaces all that was set before, and has at most 60 KiB.`
	set.Example = `  secretvm service env set guestbook --env-file .env
  secretvm service env set guestbook --env-file .env --compose docker-compose.yaml
  secretvm service env set guestbook --secret tls_key=key.pem --secret token=token.txt`
	var f sealedFlags
	flags := set.Flags()
	flags.StringVar(&f.variables, "env-file", "", "`FILE` of NAME=VALUE lines; its contents never show")
	flags.StringArrayVar(&f.secrets, "secret", nil, "`NAME=FILE`: a secret of the compose file, and its contents (repeatable)")
	flags.StringVar(&f.compose, "compose", "", "seal the secrets of this compose `FILE`, and hold the rest against it")
	s.sealOrRemove(set, "env", "--env-file FILE, --secret NAME=FILE, --compose FILE", func() bool { return f.variables != "" || f.secrets != nil || f.compose != "" },
		func() ([]byte, error) { return f.read(c.ErrOrStderr()) })
	return c
}

// read reads what the flags name, and returns what is to be sealed.
func (f *sealedFlags) read(notes io.Writer) ([]byte, error) {
	usage := func(err error) ([]byte, error) { return nil, &exitError{exitUsage, err} }
	env := vm.Environment{}
	if f.variables != "" {
		raw, err := readAtMost(f.variables, vm.MaxEnvironment)
		if err != nil {
			return nil, fmt.Errorf("read env: %w", err)
		}
		defer clear(raw)
		if env, err = readEnv(raw); err != nil {
			return usage(fmt.Errorf("%s: %w", f.variables, err))
		}
	}
	variables := len(env)
	files := map[string]string{}
	for _, s := range f.secrets {
		name, file, ok := strings.Cut(s, "=")
		if err := vm.CheckSecret(name); err != nil || !ok || file == "" {
			return usage(fmt.Errorf("--secret %q: want NAME=FILE", s))
		}
		files[name] = file
	}
	if f.compose != "" {
		if err := f.fromCompose(env, files, notes); err != nil {
			return usage(err)
		}
	}
	for name, file := range files {
		content, err := readAtMost(file, vm.MaxEnvironment)
		if errors.Is(err, fs.ErrNotExist) {
			return usage(fmt.Errorf("secret %s: %s does not exist (another file: --secret %[1]s=FILE)", name, file))
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w (larger ones belong on the encrypted disk)", name, err)
		}
		env.SetSecret(name, content)
		clear(content)
	}
	if len(env) == 0 {
		return usage(errors.New("nothing is to be sealed: the compose file has no secrets of files beside it"))
	}
	plain, err := env.Encode()
	if err != nil {
		return usage(fmt.Errorf("%d variables and %d files: %w (files count for four thirds; larger ones belong on the encrypted disk)", variables, len(files), err))
	}
	return plain, nil
}

// fromCompose adds the files of the compose file's secrets, and reports what no
// machine that runs it would use.
func (f *sealedFlags) fromCompose(env vm.Environment, files map[string]string, notes io.Writer) error {
	w, err := compose.Read(f.compose)
	if err != nil {
		return err
	}
	sealable, err := w.Sealable()
	if err != nil {
		return err
	}
	for name := range files {
		if !slices.ContainsFunc(sealable, func(s compose.Secret) bool { return s.Name == name }) {
			return fmt.Errorf("--secret %s: %s has no such secret, or %s brings it", name, w.Path, configdisk.FilesName)
		}
	}
	if _, others := env.Allowed(w.Settings.Env); len(others) > 0 {
		fmt.Fprintf(notes, "  machines will leave out %s, which %s.env of %s does not name\n", strings.Join(others, ", "), compose.SettingsKey, w.Path)
	}
	for _, s := range sealable {
		switch {
		case files[s.Name] != "" || s.Environment != "":
		case s.File == "" || strings.Contains(s.File, "$"):
			return fmt.Errorf("secret %s: %s does not say which file it is: --secret %[1]s=FILE", s.Name, w.Path)
		case filepath.IsAbs(s.File):
			files[s.Name] = s.File
		default:
			files[s.Name] = filepath.Join(filepath.Dir(w.Path), s.File)
		}
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// readEnv reads NAME=VALUE lines, with comments, "export" and quotes. Errors name
// lines and never values.
func readEnv(raw []byte) (vm.Environment, error) {
	found := vm.Environment{}
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
		if err := vm.CheckEnv(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
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
	return found, nil
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
