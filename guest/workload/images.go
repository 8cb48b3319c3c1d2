package workload

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// CheckPinned reports the first service of a compose file whose image could be
// another one tomorrow, because it is named by a tag and not by a digest. The
// host has checked the same before; this machine does not rely on it.
func CheckPinned(composeFile []byte, pins vm.Pins) error {
	return compose.Images(composeFile, func(s compose.Service) error {
		if _, is := pins[s.Image]; is || s.Pinned {
			return nil
		}
		name, _, _ := strings.Cut(s.Image, "@")
		return fmt.Errorf("service %s: the image %q can change behind its name: write image: %s@sha256:<digest>, or images: tag in x-secretvm to accept that", s.Name, s.Image, name)
	})
}

// Pin has docker compose pull images by the digests of pins, and whatever has a
// digest from the host's registry, if that has it: whose a digest is does not
// matter. mirror may be nil.
func (p *Project) Pin(composeFile []byte, pins vm.Pins, mirror func(reference string) bool) error {
	services := map[string]any{}
	err := compose.Images(composeFile, func(s compose.Service) error {
		if _, is := pins[s.Image]; s.Image == "" || !is && !s.Pinned {
			return nil
		}
		reference, err := compose.PinnedImage(s.Image, pins)
		if err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
		if near := compose.MirrorOf("localhost:5000", reference); mirror != nil && mirror(near) {
			reference = near
		}
		if reference != s.Image {
			services[s.Name] = map[string]any{"image": reference}
		}
		return nil
	})
	if err != nil || len(services) == 0 {
		return err
	}
	return p.overlay("workload-images.yaml", services)
}

// Mirrored reports whether the registry that the host hints at has an image. The
// answer is a hint as well: another image has another digest.
func Mirrored(ctx context.Context, reference string) bool {
	_, name, _ := strings.Cut(reference, "/")
	repository, digest, _ := strings.Cut(name, "@")
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+RegistryAddress+"/v2/"+repository+"/manifests/"+digest, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
