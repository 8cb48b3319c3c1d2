package compose

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const llm = `services:
  llm:
    image: vllm/vllm-openai:v0.11.0
    command: --model openai/gpt-oss-20b
    ports: ["8000:8000"]
    ipc: private
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: all
              capabilities: [gpu]
`

// G7: a compose file as found in the wild that asks for GPUs gets such as have
// proved themselves, or is told what is missing.
func TestG7_FilesThatAskForGPUs(t *testing.T) {
	const attest = "x-secretvm: {images: tag, gpu: attest}\n"
	for _, tt := range []struct{ name, file, wantErr string }{
		{"in the wild", llm + attest, ""},
		{"by name", strings.Replace(llm, "driver: nvidia\n              count: all", `driver: cdi
              device_ids: ["nvidia.com/gpu=all"]`, 1) + attest, ""},
		{"by runtime", "services: {llm: {image: x, runtime: nvidia, environment: [NVIDIA_VISIBLE_DEVICES=all]}}\n" + attest, ""},
		{"for none", "services: {web: {image: x, deploy: {resources: {limits: {memory: 1G}, reservations: {devices: []}}}}}\n", ""},
		{"without a word", llm, "gpu: attest in x-secretvm"},
		{"gpu: none", llm + "x-secretvm: {images: tag, gpu: none}\n", "gpu: attest in x-secretvm"},
		{"by runtime, without a word", "services: {llm: {image: x, runtime: nvidia}}\n", "gpu: attest in x-secretvm"},
		{"of another maker", strings.Replace(llm, "driver: nvidia", "driver: amd", 1) + attest, `driver "amd"`},
		{"the new way", "services: {llm: {image: x, gpus: all}}\n" + attest, "deploy.resources.reservations.devices"},
		{"by path", "services: {llm: {image: x, devices: [/dev/nvidia0]}}\n" + attest, "/dev/nvidia0"},
		{"misspelt", llm + "x-secretvm: {images: tag, gpu: atest}\n", `did you mean "attest"`},
	} {
		w, err := Parse([]byte(tt.file), nil)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		cfg, err := w.Config("svm1owner/llm", vm.KMS{ChainID: "c", GroupKey: strings.Repeat("ab", 96)}, vm.NoInstance)
		if err != nil || (cfg.GPU == vm.GPUAttest) != strings.Contains(tt.file, "attest") {
			t.Errorf("%s: the measured config says gpu: %s, %v", tt.name, cfg.GPU, err)
		}
	}
}
