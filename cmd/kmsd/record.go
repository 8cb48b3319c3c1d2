package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// readRecord reads what secretvm measure --all-shapes printed into a message
// without owner and service: one image, a platform for each row.
func readRecord(path string) (*types.MsgAddImage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, err := measure.ReadRecord(f)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", path, err)
	}
	if r.Workload == nil {
		return nil, vm.Refuse(vm.CodeInvalid, "record %s is about no workload", path).Try("make it with secretvm measure IMAGE --all-shapes --config FILE")
	}
	template, err := r.Workload.Template.Canonical()
	if err != nil {
		return nil, fmt.Errorf("record %s: template: %w", path, err)
	}
	msg := &types.MsgAddImage{Description: r.Description, RootHash: r.RootHash[:], Template: template}
	if r.TDX != nil {
		msg.Rtmr1, msg.Rtmr2, msg.Rtmr3 = r.TDX.RTMR1[:], r.TDX.RTMR2[:], r.Workload.RTMR3[:]
	}
	for _, row := range r.Rows() {
		p := types.Platform{Tee: string(row.TEE), Shape: shapes(row.Shapes)}
		if row.TEE == vm.TDX {
			p.Mrtd, p.Rtmr0 = row.MRTD[:], row.RTMR0[:]
		} else {
			p.Launch = row.Digest[:]
		}
		msg.Platforms = append(msg.Platforms, p)
	}
	return msg, nil
}

// shapes says for people which machines a row is about.
func shapes(sets []measure.ShapeSet) string {
	var out []string
	for _, s := range sets {
		text := list(s.CPUs, " vCPU")
		if memory := list(s.Memory, " MiB"); memory != "" {
			text += " " + memory
		}
		if gpus := list(s.GPUs, " GPU"); gpus != "" && !slices.Equal(s.GPUs, []int{0}) {
			text += " " + gpus
		}
		out = append(out, strings.TrimSpace(text))
	}
	const limit = 64
	if text := strings.Join(out, "; "); len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%d sets of shapes", len(sets))
}

func list[N int | int64](numbers []N, unit string) string {
	switch len(numbers) {
	case 0:
		return ""
	case 1:
		return fmt.Sprint(numbers[0]) + unit
	}
	return fmt.Sprintf("%d-%d%s", slices.Min(numbers), slices.Max(numbers), unit)
}
