package main

import "github.com/spf13/cobra"

// aptFolder is where the machine's apt configuration names mirrors and proxies.
const aptFolder = "/etc/apt"

// newImageCommand groups what makes images.
func newImageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Build the machine image from locked Debian packages",
	}
	c.AddCommand(newImageBuildCommand(), newImageLockCommand(),
		newImageFirmwareCommand(), newImageKernelCommand(), newImageDriverCommand(), newImageEnterCommand())
	return c
}
