// Command boot is a developer's loop for guest code: it boots an image folder
// with the soft TEE and shows the console, without KMS, registry or `up`.
//
//	go run ./test/boot --image dist/image --compose examples/guestbook
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "boot:", err)
		os.Exit(1)
	}
}
