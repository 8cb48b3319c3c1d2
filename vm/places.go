package vm

// Where the world finds parts of a machine. A workload cannot publish these ports.
const (
	AttestationPort = 29343 // the attestation service
	DevPort         = 29344 // commands for images for development; nothing listens there in others
)

// DevMachine is who takes commands at DevPort for the machine itself; services
// take them under their names, which are never like this.
const DevMachine = "@machine"

// Where containers find parts of a machine, if they are granted them.
const (
	APISocket = "/run/secretvm.sock" // its API
	TLSFolder = "/run/secretvm/tls"  // the certificate for the machine's names, and its key
)
