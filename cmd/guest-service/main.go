// Command guest-service is the program of the guest's processes beside guestd,
// which starts it with the name of one of its parts; see package guest/ipc.
package main

import (
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/guest/certificate"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/guest/keys/release"
	"github.com/secretvm/secretvm/guest/network"
	"github.com/secretvm/secretvm/guest/network/dhcp"
	"github.com/secretvm/secretvm/guest/workload"
	"github.com/secretvm/secretvm/guest/workload/order"
)

// parts are the services that this program has, by the argument that chooses one.
var parts = map[string]func() error{
	attestation.Part:             attestd.Run,
	attestation.CertificatesPart: certificate.Run,
	keys.Part:                    release.Run,
	network.Part:                 dhcp.Run,
	order.Part:                   workload.Run,
	proof.Part:                   api.Run,
}

func main() {
	name := ""
	if len(os.Args) == 2 {
		name = os.Args[1]
	}
	run, ok := parts[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "guest-service: there is no part %q; guestd starts this program\n", name)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "guest-service %s: %v\n", name, err)
		os.Exit(1)
	}
}
