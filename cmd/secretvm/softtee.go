package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// newSoftTEECommand runs the host's side of the soft TEE for one boot of one
// machine. `up` starts it; it is hidden because nobody else needs it.
func newSoftTEECommand() *cobra.Command {
	var socket, pki, measurement, bootLog string
	c := &cobra.Command{
		Use:    "soft-tee --socket PATH --pki DIR --measurement FILE",
		Short:  "Answer a machine's attestation requests without a TEE (development only)",
		Hidden: true,
		Args:   usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return runSoftTEE(c.Context(), c.ErrOrStderr(), socket, pki, measurement, bootLog)
		},
	}
	c.Flags().StringVar(&socket, "socket", "", "UNIX socket to listen on; QEMU connects to it")
	c.Flags().StringVar(&pki, "pki", "", "folder of the development PKI, made if it is not there")
	c.Flags().StringVar(&measurement, "measurement", "", "JSON file with the registers at launch")
	c.Flags().StringVar(&bootLog, "boot-log", "", "file with the firmware's log that explains them (CCEL)")
	for _, name := range []string{"socket", "pki", "measurement"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined four lines above
		}
	}
	return c
}

// runSoftTEE serves until ctx ends.
func runSoftTEE(ctx context.Context, stderr io.Writer, socket, pkiDir, measurementFile, bootLogFile string) error {
	text, err := os.ReadFile(measurementFile)
	if err != nil {
		return fmt.Errorf("read launch measurement: %w", err)
	}
	var launch vm.Measurement
	if err := json.Unmarshal(text, &launch); err != nil {
		return fmt.Errorf("read launch measurement %s: %w", measurementFile, err)
	}
	pki, err := emulator.LoadOrCreatePKI(pkiDir)
	if err != nil {
		return err
	}
	machine, err := emulator.New(pki, launch)
	if err != nil {
		return err
	}
	if bootLogFile != "" {
		if machine.BootLog, err = os.ReadFile(bootLogFile); err != nil {
			return fmt.Errorf("read boot log: %w", err)
		}
	}
	// A socket left over from a process that was killed would block the name;
	// anything else by that name is not ours to remove.
	if info, err := os.Lstat(socket); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(socket); err != nil {
			return fmt.Errorf("remove old socket of soft TEE: %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for machine on soft TEE: %w", err)
	}
	fmt.Fprintf(stderr, "SOFT TEE: real formats, no confidentiality. Root %s/%s, listening on %s\n", pkiDir, emulator.RootFile, socket)
	return machine.Serve(ctx, listener)
}
