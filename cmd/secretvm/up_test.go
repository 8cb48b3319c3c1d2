package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "2G": 2 << 30, "1536M": 1536 << 20, "1024": 1 << 30} {
		if got, err := parseMemory(text); err != nil || got != want {
			t.Errorf("parseMemory(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"G", "-1G", "0", "2T", "1.5G", "2 G", "99999999999G"} {
		if got, err := parseMemory(text); err == nil || !strings.Contains(err.Error(), "--memory") {
			t.Errorf("parseMemory(%q) = %d, %v", text, got, err)
		}
	}
}

func TestParsePorts(t *testing.T) {
	ports, err := parsePorts([]string{"8080=18080", "29343=0"})
	if err != nil || len(ports) != 2 || ports[8080] != 18080 || ports[29343] != 0 {
		t.Errorf("ports are %v, %v", ports, err)
	}
	for _, pair := range []string{"", "8080", "8080=", "=1", "0=1", "8080:18080", "65536=1", "1=65536", "a=b"} {
		if _, err := parsePorts([]string{pair}); err == nil || !strings.Contains(err.Error(), "--port") {
			t.Errorf("--port %q: %v", pair, err)
		}
	}
}

// Wrong usage ends with exit code 2, before anything is made or started.
func TestUpRefusesWrongUsage(t *testing.T) {
	dir := t.TempDir()
	compose := filepath.Join(dir, "docker-compose.yaml")
	if err := os.WriteFile(compose, []byte("services: { web: { image: a } }\nx-secretvm: { service: web, images: tag }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no compose file": {[]string{filepath.Join(dir, "nowhere")}, "nowhere"},
		"two workloads":   {[]string{compose, compose}, "--help"},
		"tdx":             {[]string{compose, "--tee", "tdx"}, "use --tee soft"},
		"port":            {[]string{compose, "--port", "x"}, "--port"},
		"unknown port":    {[]string{compose, "--port", "1=2", "--kmsd", "/bin/true"}, "publishes no TCP port 1"},
		"memory":          {[]string{compose, "--memory", "1M"}, "512 MiB"},
		"too many nodes":  {[]string{compose, "--kms-nodes", "17"}, "--kms-nodes 17: want 1 to 16"},
		"address":         {[]string{compose, "--address", "192.0.2.7"}, "--address \"192.0.2.7\""},
		"gateway":         {[]string{compose, "--address", "192.0.2.7/24", "--gateway", "198.51.100.1"}, "in the network of none"},
		"name server":     {[]string{compose, "--dns", "127.0.0.1"}, "hint dns is 127.0.0.1"},
		"unknown flag":    {[]string{compose, "--detach"}, "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut strings.Builder
			code := run(t.Context(), append([]string{"up", "--state", state}, tc.args...), nil, &out, &errOut)
			want := exitUsage
			if name == "unknown port" {
				want = exitRefused // known only once the ports of this computer are looked at
			}
			if code != want || !strings.Contains(errOut.String(), tc.want) || out.Len() != 0 {
				t.Errorf("exit %d, want %d; printed %q and %q", code, want, out.String(), errOut.String())
			}
		})
	}
	if entries, _ := os.ReadDir(filepath.Join(state, "machines")); len(entries) != 0 {
		t.Error("a machine was made")
	}
}

func TestUpWithoutKmsdSaysHowToBuildIt(t *testing.T) {
	_, err := findKmsd(filepath.Join(t.TempDir(), "kmsd"))
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error is %v", err)
	}
}
