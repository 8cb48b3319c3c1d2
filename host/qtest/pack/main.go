// Command pack asks the locked QEMU for the ACPI tables of the TDX machines with
// 1 to 64 vCPUs and 0 to 8 GPUs and writes what package measure/acpi embeds. go generate runs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/host/qtest"
	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/vm"
)

func main() {
	output := flag.String("output", ".", "folder of package measure/acpi")
	flag.Parse()
	if err := pack(context.Background(), *output); err != nil {
		fmt.Fprintln(os.Stderr, "pack ACPI tables:", err)
		os.Exit(1)
	}
}

func pack(ctx context.Context, output string) error {
	binary, err := local.Locked{}.QEMU(ctx, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	shape := vm.Shape{CPUs: 1, Memory: 2 << 30}
	origin := acpi.Origin{}
	if origin.QEMU, err = qtest.Version(ctx, binary); err != nil {
		return err
	}
	if origin.Arguments, err = qtest.Arguments(shape); err != nil {
		return err
	}
	if origin.WithGPUs, err = qtest.Arguments(vm.Shape{CPUs: 1, Memory: shape.Memory, GPUs: vm.MaxShapeGPUs}); err != nil {
		return err
	}
	for ; shape.GPUs <= vm.MaxShapeGPUs; shape.GPUs++ {
		packed, err := packed(ctx, binary, shape)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(output, acpi.PackedName(shape.GPUs)), packed, 0o644); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(origin, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(output, acpi.OriginName), append(text, '\n'), 0o644)
}

// packed has the machines of a shape with any number of vCPUs from its own on.
func packed(ctx context.Context, binary qemu.Binary, shape vm.Shape) ([]byte, error) {
	var machines [][]byte
	for ; shape.CPUs <= acpi.MaxCPUs; shape.CPUs++ {
		blobs, err := qtest.ACPI(ctx, binary, shape)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shape, err)
		}
		machines = append(machines, blobs.Tables)
	}
	return acpi.Pack(machines)
}
