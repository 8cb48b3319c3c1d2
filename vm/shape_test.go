package vm

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseShape(t *testing.T) {
	for text, want := range map[string]Shape{
		"4x8G":          {CPUs: 4, Memory: 8 << 30},
		"2x1536M":       {CPUs: 2, Memory: 1536 << 20},
		"64x512G+8gpu":  {CPUs: 64, Memory: 512 << 30, GPUs: 8},
		"1x512M+1gpu":   {CPUs: 1, Memory: 512 << 20, GPUs: 1},
		"16x196608M":    {CPUs: 16, Memory: 192 << 30},
		"8x3G+2gpu":     {CPUs: 8, Memory: 3 << 30, GPUs: 2},
		"32x65537M":     {CPUs: 32, Memory: 65537 << 20},
		"12x1048M+3gpu": {CPUs: 12, Memory: 1048 << 20, GPUs: 3},
	} {
		got, err := ParseShape(text)
		if err != nil || got != want {
			t.Errorf("ParseShape(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseShape(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q and read as %+v, %v", text, got, again, err)
		}
	}
	for text, want := range map[string]string{
		"": "want vCPUs", "4": "want vCPUs", "x2G": "want vCPUs", "4x8": "want vCPUs", "4x8T": "want vCPUs", "4x8G+gpu": "want vCPUs",
		"4x8G+0gpu": "want vCPUs", "4x8G+1": "want vCPUs", "4x8G+1gpu+1gpu": "want vCPUs", "4x99999999999G": "want vCPUs",
		"0x8G": "0 vCPUs", "65x8G": "65 vCPUs", "4x100M": "512 MiB to 512 GiB", "4x-1G": "512 MiB to 512 GiB", "4x513G": "512 MiB to 512 GiB",
		"4x8G+9gpu": "9 GPUs", "4x8G+-1gpu": "-1 GPUs",
	} {
		if got, err := ParseShape(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseShape(%q) = %+v, %v, want %q", text, got, err, want)
		}
	}
}

// Manifests of images without GPUs stay as they are.
func TestShapeWithoutGPUsIsEncodedAsBefore(t *testing.T) {
	got, err := json.Marshal(DefaultShape)
	if err != nil || string(got) != `{"cpus":2,"memory":2147483648}` {
		t.Errorf("%s, %v", got, err)
	}
}
