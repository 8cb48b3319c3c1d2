package vm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// MaxEnvironment bounds what an owner seals as a service's environment, in
// bytes: a ciphertext on the ledger has at most 64 KiB.
const MaxEnvironment = 60 << 10

// Environment is what an owner seals for a service's machines through the KMS:
// variables, and files for the secrets of a compose file. A file has the name of
// its secret behind secretPrefix, and its contents in base64. Values are secret:
// it prints as "redacted".
type Environment map[string]string

// secretPrefix tells files from variables, whose names have no colon.
const secretPrefix = "secret:"

var secretPattern = Pattern(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// CheckSecret refuses what is no name of a secret.
func CheckSecret(name string) error {
	if !secretPattern(name) {
		return fmt.Errorf("%.40q is no name of a secret: want letters, digits, and after the first of them dots and hyphens, at most 128", name)
	}
	return nil
}

// SetSecret puts the contents of a file under the name of a secret.
func (e Environment) SetSecret(name string, content []byte) {
	e[secretPrefix+name] = base64.StdEncoding.EncodeToString(content)
}

// Secret returns the contents of the file that is sealed for a secret.
func (e Environment) Secret(name string) (content []byte, sealed bool) {
	value, sealed := e[secretPrefix+name]
	content, err := base64.StdEncoding.DecodeString(value)
	return content, sealed && err == nil
}

// ParseEnvironment reads the plaintext of what is sealed: one JSON object of
// strings. Names that no owner may set are errors; values hold no NUL.
func ParseEnvironment(b []byte) (Environment, error) {
	if len(b) > MaxEnvironment {
		return nil, fmt.Errorf("the environment has %d bytes, want at most %d", len(b), MaxEnvironment)
	}
	var e Environment
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&e); err != nil || e == nil {
		return nil, errors.New("the environment is not a JSON object of strings") // the cause could quote a value
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes trail the environment")
	}
	return e, e.validate()
}

func (e Environment) validate() error {
	if len(e) > MaxEnv {
		return fmt.Errorf("the environment has %d variables and secrets, want at most %d", len(e), MaxEnv)
	}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if secret, is := strings.CutPrefix(name, secretPrefix); is {
			if _, sealed := e.Secret(secret); !sealed {
				return fmt.Errorf("the contents of secret %.40q are not base64", secret)
			}
			if err := CheckSecret(secret); err != nil {
				return err
			}
			continue
		}
		if err := CheckEnv(name); err != nil {
			return err
		}
		if strings.ContainsRune(e[name], 0) {
			return fmt.Errorf("the value of %s holds a NUL, which no variable can", name)
		}
	}
	return nil
}

// Encode returns the plaintext to seal.
func (e Environment) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(map[string]string(e)) // sorted
	if err != nil {
		return nil, fmt.Errorf("encode the environment: %w", err)
	}
	if len(b) > MaxEnvironment {
		return nil, fmt.Errorf("the environment has %d bytes, want at most %d", len(b), MaxEnvironment)
	}
	return b, nil
}

// Allowed returns the variables that a config names, as NAME=value and sorted,
// and the names of the others. Files are not among them.
func (e Environment) Allowed(names []string) (set, others []string) {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if strings.HasPrefix(name, secretPrefix) {
			continue
		}
		if slices.Contains(names, name) {
			set = append(set, name+"="+e[name])
		} else {
			others = append(others, name)
		}
	}
	return set, others
}

// String hides the values.
func (e Environment) String() string { return "redacted" }

// Format prints "redacted" whatever the verb.
func (e Environment) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// MarshalJSON hides the values: they are encoded by Encode, on purpose.
func (e Environment) MarshalJSON() ([]byte, error) { return json.Marshal("redacted") }
