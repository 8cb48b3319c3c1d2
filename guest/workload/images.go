package workload

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/compose"
)

// CheckPinned reports the first service of a compose file whose image could be
// another one tomorrow, because it is named by a tag and not by a digest. The
// host has checked the same before; this machine does not rely on it.
func CheckPinned(composeFile []byte) error {
	return compose.Images(composeFile, func(s compose.Service) error {
		if s.Pinned {
			return nil
		}
		name, _, _ := strings.Cut(s.Image, "@")
		return fmt.Errorf("service %s: the image %q can change behind its name: write image: %s@sha256:<digest>, or images: tag in x-secretvm to accept that", s.Name, s.Image, name)
	})
}
