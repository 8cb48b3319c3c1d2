package vm

import "errors"

// Unsupported reports the first setting that is measured but that no image can
// honour yet. Guests refuse to ask for keys under such a config, and hosts to
// start one: a promise that is only written down protects nobody.
func (c Config) Unsupported() error {
	switch {
	case c.GPU != GPUNone && c.KMS.Provider == ProviderSecretNetwork:
		return errors.New("gpu: attest needs a key manager that judges GPUs, which the contract of existing machines does not: write gpu: none, or leave kms out")
	}
	return nil
}
