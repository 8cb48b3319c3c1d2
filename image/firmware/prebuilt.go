package firmware

import (
	"fmt"
	"os"
)

// Variable names the environment variable that gives a prebuilt image, for
// machines that cannot build one.
const Variable = "SECRETVM_FIRMWARE"

// maxImage bounds what is read, in bytes: our images have 1 MiB, no OVMF more than 4.
const maxImage = 16 << 20

// Prebuilt reads an image that was built elsewhere. It need not be trusted: only
// the bytes that a build here would have yielded are taken.
func Prebuilt(file string, p Platform) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read prebuilt firmware: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxImage {
		return nil, fmt.Errorf("read prebuilt firmware: %s is no file of at most %d MiB", file, maxImage>>20)
	}
	image, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read prebuilt firmware: %w", err)
	}
	if err := p.Check(image); err != nil {
		return nil, fmt.Errorf("prebuilt firmware %s: %w; take the file of this release, "+
			"or build it with `secretvm image firmware build --tee %s`", file, err, p.TEE)
	}
	return image, nil
}
