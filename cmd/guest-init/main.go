// Command guest-init is /init of the initramfs: it measures what the machine is
// about to run, then becomes it. Whatever fails ends the machine.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/initramfs"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest-init: runs as the first process of a virtual machine only")
		os.Exit(2)
	}
	out := console.New(os.Stdout)
	out.Halt(initramfs.Step, initramfs.Boot(context.Background(), initramfs.Linux{}, out))
	initramfs.PowerOff()
}
