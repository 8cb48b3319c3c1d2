// Command guest-ntp asks the time servers of a machine's measured config and
// prints what they answer. guestd starts it without any rights and judges what it
// says (package guest/clock).
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/clock/ntpclient"
)

func main() {
	if err := ntpclient.Run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "guest-ntp:", err)
		os.Exit(1)
	}
}
