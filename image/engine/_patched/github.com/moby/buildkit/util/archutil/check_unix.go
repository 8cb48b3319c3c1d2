//go:build !windows

package archutil

import "errors"

// check would write and run a program for each architecture at every boot, to
// find out which of them an emulator runs. The guest builds no images, and has no
// emulators.
func check(arch, _ string) (string, error) {
	return "", errors.New("images for " + arch + " are not built here")
}
