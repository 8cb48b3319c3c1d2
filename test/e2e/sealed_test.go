package e2e

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// The compose file of the sealed guest book names the images of the example.
func TestSealedNamesTheExamplesImages(t *testing.T) {
	var found [2][]string
	for i, file := range []string{"sealed/docker-compose.yaml", "../../examples/guestbook/docker-compose.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[i] = regexp.MustCompile(`localhost:5000/\S+@sha256:[0-9a-f]{64}`).FindAllString(string(text), -1)
	}
	if len(found[0]) != 2 || !slices.Equal(found[0], found[1]) {
		t.Errorf("the compose file names %q, the example %q (try: secretvm oci build --update test/e2e/sealed)", found[0], found[1])
	}
}
