// Command guest-gpu is the process of machines with GPUs that knows them. guestd
// starts it and asks it on its standard input; see package guest/gpu.
package main

import (
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/gpu/bringup"
)

func main() {
	if err := bringup.NewServer(bringup.Linux()).Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "guest-gpu:", err)
		os.Exit(1)
	}
}
