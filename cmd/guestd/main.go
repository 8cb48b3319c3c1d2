// Command guestd is the first process of the guest's root file system: it gets
// keys, opens the disk and runs the workload. It ends by powering off.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/runtime"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guestd: runs as the first process of a virtual machine only")
		os.Exit(2)
	}
	out := console.New(os.Stdout)
	if failed, err := runtime.Run(context.Background(), out); err != nil {
		out.Halt(failed, err)
	}
	runtime.PowerOff()
}
