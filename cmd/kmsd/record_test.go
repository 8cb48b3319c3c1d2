package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// TestAddImageRecord: one command registers what an image measures in every
// shape, on both TEEs, and a machine of any of them is of that image.
func TestAddImageRecord(t *testing.T) {
	k := newKmsd(t)
	var made node.Made
	k.run(0, &made, "init", "--chain-id", "secretvm-test-1")
	process, _ := k.start()
	var created sent
	k.run(0, &created, "tx", "kms", "create-service", "web")
	template := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: created.Service,
		KMS:        vm.KMS{ChainID: made.ChainID, GroupKey: made.GroupKey.String()},
		InstanceID: vm.NoInstance, TLS: "self", Images: "digest", GPU: "none",
	}
	events, err := vm.BootEvents(root, template)
	must(t, err)
	registers, err := vm.Replay(events)
	must(t, err)
	record := measure.Record{
		Version: measure.RecordVersion, Description: "base v0", Kernel: vm.Hash{1}, Initramfs: vm.Hash{2}, CommandLine: "quiet", RootHash: root,
		Workload: &measure.Workload{RTMR3: registers[vm.RuntimeRegister], Template: template},
		TDX: &measure.TDXRecord{
			Firmware: vm.Hash{3}, Profile: "test", MRTD: vm.Register{1}, MRTDTwoPass: vm.Register{2}, RTMR1: vm.Register{3}, RTMR2: vm.Register{4},
			Rows: []measure.TDXRow{
				{RTMR0: vm.Register{5}, Shapes: []measure.ShapeSet{measure.Only(vm.Shape{CPUs: 1, Memory: 1 << 30})}},
				{RTMR0: vm.Register{6}, Shapes: []measure.ShapeSet{{CPUs: []int{2}, Memory: []int64{1024, 2048}, GPUs: []int{0}}}},
			},
		},
		SNP: &measure.SNPRecord{
			Firmware: vm.Hash{4}, CPUModel: "EPYC-v4",
			Rows: []measure.SNPRow{{Digest: vm.Register{7}, Features: snp.SNPActive, Shapes: []measure.ShapeSet{{CPUs: []int{1}}}}},
		},
	}
	b, err := record.Encode()
	must(t, err)
	file := filepath.Join(t.TempDir(), "record.json")
	must(t, os.WriteFile(file, b, 0o600))
	var added sent
	k.run(0, &added, "tx", "kms", "add-image", "web", "--record", file)
	var service wire.Service
	k.run(0, &service, "query", "kms", "service", "web")
	if len(service.Images) != 1 || service.Images[0].Platforms != 5 || *service.Images[0].RTMR1 != record.TDX.RTMR1 {
		t.Errorf("the chain has %+v", service.Images)
	}
	var rows struct {
		Platforms []struct{ Tee, Shape string } `json:"platforms"`
	}
	k.run(0, &rows, "query", "kms", "platforms", "--service", "web", "--image", "0")
	if len(rows.Platforms) != 5 || rows.Platforms[2].Shape != "2 vCPU 1024-2048 MiB" || rows.Platforms[4].Tee != "snp" {
		t.Errorf("platforms are %+v", rows.Platforms)
	}

	// A record about no workload says nothing that could be registered.
	record.Workload = nil
	b, err = json.Marshal(record)
	must(t, err)
	must(t, os.WriteFile(file, b, 0o600))
	if said := k.run(1, nil, "tx", "kms", "add-image", "web", "--record", file); !strings.Contains(said, "no workload") {
		t.Errorf("said %s", said)
	}

	// More platforms than one image can have, in blocks that are full.
	record.Workload = &measure.Workload{RTMR3: registers[vm.RuntimeRegister], Template: template}
	record.TDX.Rows, record.SNP = nil, nil
	for i := range 3000 {
		record.TDX.Rows = append(record.TDX.Rows, measure.TDXRow{
			RTMR0: vm.Register{9, byte(i), byte(i >> 8)}, Shapes: []measure.ShapeSet{{CPUs: []int{1}, Memory: []int64{int64(512 + i)}, GPUs: []int{0}}},
		})
	}
	b, err = record.Encode()
	must(t, err)
	must(t, os.WriteFile(file, b, 0o600))
	k.run(0, nil, "tx", "kms", "add-image", "web", "--record", file)
	k.run(0, &service, "query", "kms", "service", "web")
	if len(service.Images) != 3 || service.Images[1].Platforms+service.Images[2].Platforms != 6000 {
		t.Errorf("the chain has %d images", len(service.Images))
	}
	must(t, process.Process.Kill())
	_ = process.Wait()
}
