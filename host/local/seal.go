package local

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/secretvm/secretvm/configdisk"
)

// checkSeal holds the flags of what is sealed against the workload.
func (o Options) checkSeal() error {
	if (o.Seal || o.EnvFile != "") && o.Workload.Settings.Manager != nil {
		return errors.New("--seal and --env-file are for a KMS of up's own: what the contract's administrators seal is theirs to send")
	}
	return nil
}

// sealed seals what the workload takes from its owner, where up was told to; and
// reports what nobody can have sealed for a service that is new.
func (in *Installation) sealed(ctx context.Context, created bool) error {
	w := in.o.Workload
	if in.o.Seal || in.o.EnvFile != "" {
		args := []string{"--compose", w.Path}
		if in.o.EnvFile != "" {
			args = append(args, "--env-file", in.o.EnvFile)
		}
		return in.seal(ctx, in.service.ID, args...)
	}
	missing, err := w.Sealable()
	if err != nil || len(missing) == 0 || !created {
		return err
	}
	return fmt.Errorf("%s has secrets that nobody has sealed yet, %s for example: let up do it (--seal), from the files beside it, "+
		"or put them into %s if they may be public", w.Path, missing[0].Name, configdisk.FilesName)
}

// seal has the owner's command encrypt something for the machines of a service.
func (in *Installation) seal(ctx context.Context, service string, args ...string) error {
	args = append([]string{"service", "env", "set", service, "--kmsd", in.o.Kmsd, "--home", in.kms.owner()}, args...)
	if at := in.kms.at(); at != nil {
		args = append(args, "--kms", at[1])
	}
	if out, err := exec.CommandContext(ctx, in.o.SecretVM, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("seal the environment: %w: %s", err, lastLine(out))
	}
	return nil
}
