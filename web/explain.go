package web

import "github.com/secretvm/secretvm/vm"

// eventMeaning says in one sentence what a runtime event proves.
func eventMeaning(e vm.Event) string {
	switch e.Name {
	case vm.EventImage:
		return "Root hash of the system's file system. Every block is checked against it when it is read."
	case vm.EventCompose:
		return "SHA-256 of the compose file, byte for byte as its owner wrote it."
	case vm.EventFiles:
		return "SHA-256 of the archive of files that belong to the compose file."
	case vm.EventConfig:
		return "SHA-256 of the configuration: owner's service, key manager, disk, what is open."
	case vm.EventBootComplete:
		return "The boot is over. Nothing that comes later can pass for one of the events above."
	}
	return "Not an event of the boot."
}

// hardware names the environment for people.
func hardware(t vm.TEE) string {
	switch t {
	case vm.TDX:
		return "Intel TDX"
	case vm.SNP:
		return "AMD SEV-SNP"
	}
	return "a soft TEE"
}
