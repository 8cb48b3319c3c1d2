// Command guest-dev lets the operator of a machine run commands in it and in its
// containers (package guest/dev). Images for development hold it, and no others.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/dev"
)

func main() {
	if err := dev.Serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "guest-dev:", err)
		os.Exit(1)
	}
}
