package gate

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever way a container asks for GPUs, dockerd is asked for names of the
// Container Device Interface.
func TestGPUsAreAskedForByName(t *testing.T) {
	for _, tt := range []struct{ host, want, wantErr string }{
		{`"DeviceRequests":[{"Driver":"nvidia","Count":-1,"Capabilities":[["gpu"]]}]`, `["nvidia.com/gpu=all"]`, ""},
		{`"DeviceRequests":[{"Count":2,"Capabilities":[["compute","gpu"]]}]`, `["nvidia.com/gpu=0","nvidia.com/gpu=1"]`, ""},
		{`"DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["1","GPU-00000000-0000-0000-0000-000000000001"],"Capabilities":[["gpu"]]}]`, `["nvidia.com/gpu=1","nvidia.com/gpu=GPU-00000000-0000-0000-0000-000000000001"]`, ""},
		{`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`, `["nvidia.com/gpu=all"]`, ""},
		{`"Runtime":"nvidia"`, `["nvidia.com/gpu=all"]`, ""},
		{`"Runtime":"nvidia","DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`, `["nvidia.com/gpu=all"]`, ""},
		{`"DeviceRequests":[]`, "", ""},
		{`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["vendor.example/tee=0"]}]`, "", "vendor.example/tee=0"},
		{`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=../x"]}]`, "", "../x"},
		{`"DeviceRequests":[{"Driver":"habana","Count":1,"Capabilities":[["gpu"]]}]`, "", "habana"},
		{`"DeviceRequests":[{"Count":-1,"Capabilities":[["tpu"]]}]`, "", "NVIDIA's GPUs only"},
		{`"devicerequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`, "", "spelt"},
	} {
		p := testPolicy(t)
		p.GPUs = true
		out, err := p.container(create("web", tt.host))
		if tt.wantErr != "" || err != nil {
			if err == nil || tt.wantErr == "" || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.host, err, tt.wantErr)
			}
			continue
		}
		var got struct {
			HostConfig struct {
				Runtime        string
				DeviceRequests []struct {
					Driver    string
					DeviceIDs json.RawMessage
				}
			}
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		requests := got.HostConfig.DeviceRequests
		if tt.want == "" && len(requests) > 0 || tt.want != "" && (len(requests) != 1 || requests[0].Driver != "cdi" || string(requests[0].DeviceIDs) != tt.want) || got.HostConfig.Runtime != "" {
			t.Errorf("%s: dockerd is asked for %+v with runtime %q, want %s", tt.host, requests, got.HostConfig.Runtime, tt.want)
		}
	}
}

// G7: in a machine whose config demands no proof, no container gets a GPU that
// the host put there.
func TestG7_GPUsThatDidNotProveThemselves(t *testing.T) {
	for _, host := range []string{
		`"DeviceRequests":[{"Driver":"nvidia","Count":-1,"Capabilities":[["gpu"]]}]`,
		`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`,
		`"Runtime":"nvidia"`,
	} {
		for _, service := range []string{"web", "agent"} { // the latter is trusted with the machine
			if _, err := testPolicy(t).container(create(service, host)); err == nil || !strings.Contains(err.Error(), "gpu: attest") {
				t.Errorf("%s: %s: %v", service, host, err)
			}
		}
	}
	if _, err := testPolicy(t).container(create("web", `"Devices":[{"PathOnHost":"/dev/nvidia0"}]`)); err == nil {
		t.Error("a container gets /dev/nvidia0 by its path")
	}
}
