package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var pinned = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)

// checkPinned reads what "docker compose config --format json" says about the
// project and reports the first service whose image could be another one
// tomorrow. It judges compose's own reading of the file: whatever variables,
// anchors and extensions did to it is done.
func checkPinned(model []byte) error {
	var project struct {
		Services map[string]struct {
			Image string          `json:"image"`
			Build json.RawMessage `json:"build"`
		} `json:"services"`
	}
	if err := json.Unmarshal(model, &project); err != nil {
		return fmt.Errorf("read docker compose's model of the project: %w", err)
	}
	if len(project.Services) == 0 {
		return errors.New("the compose file has no services to run")
	}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		switch {
		case len(service.Build) > 0 && string(service.Build) != "null":
			return fmt.Errorf("service %s is built in the machine: build it beforehand, push it, and write image: …@sha256:<digest> instead of build", name)
		case !pinned.MatchString(service.Image):
			bare, _, _ := strings.Cut(service.Image, "@")
			return fmt.Errorf("service %s: the image %q can change behind its name: write image: %s@sha256:<digest>, or images: tag in x-secretvm to accept that", name, service.Image, bare)
		}
	}
	return nil
}
