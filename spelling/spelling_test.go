package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"service", "disk", "shape", "open", "egress", "images", "gpu"}
	for word, want := range map[string]string{
		"servce":                      "service",
		"Images":                      "images",
		"image":                       "images",
		"gpus":                        "gpu",
		"network":                     "",
		"":                            "",
		strings.Repeat("service", 40): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}
