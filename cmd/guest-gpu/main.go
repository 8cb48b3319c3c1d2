// Command guest-gpu is the process of machines with GPUs that knows them. guestd
// starts it and asks it on the listener that it inherits; see package guest/gpu.
package main

import (
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/gpu/bringup"
	"github.com/secretvm/secretvm/guest/ipc"
)

func main() {
	ctx, stop := ipc.UntilStopped()
	defer stop()
	l, err := ipc.Inherited(0)
	if err == nil {
		err = bringup.NewServer(bringup.Linux()).Serve(ctx, l)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest-gpu:", err)
		os.Exit(1)
	}
}
