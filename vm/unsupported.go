package vm

import "errors"

// Unsupported reports the first setting that is measured but that no image can
// honour yet. Guests refuse to ask for keys under such a config, and hosts to
// start one: a promise that is only written down protects nobody.
func (c Config) Unsupported() error {
	switch {
	case c.GPU != "none":
		return errors.New("gpu: attest is not built yet: write gpu: none, or leave it out")
	}
	return nil
}
