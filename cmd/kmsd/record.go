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

// readRecord reads what secretvm measure --all-shapes printed into messages
// without owner and service: a platform for each row, and as many images as it
// takes to hold them.
func readRecord(path string) ([]*types.MsgAddImage, error) {
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
		at := types.Platform{Tee: string(row.TEE), Shape: shapes(row.Shapes)}
		if row.TEE == vm.SNP {
			at.Launch = row.Digest[:]
			msg.Platforms = append(msg.Platforms, at)
			continue
		}
		// The host's kernel decides in which order pages are measured; both
		// orders are the same firmware.
		for _, mrtd := range [][]byte{r.TDX.MRTD[:], r.TDX.MRTDTwoPass[:]} {
			at.Mrtd, at.Rtmr0 = mrtd, row.RTMR0[:]
			msg.Platforms = append(msg.Platforms, at)
		}
	}
	return parts(msg), nil
}

// perImage bounds the platforms of one image: an odd number would part the two
// orders of a row.
const perImage = types.MaxPlatforms &^ 1

// parts divides an image that has more platforms than one may have.
func parts(whole *types.MsgAddImage) []*types.MsgAddImage {
	var out []*types.MsgAddImage
	for rows := range slices.Chunk(whole.Platforms, perImage) {
		part := *whole
		part.Platforms = rows
		out = append(out, &part)
	}
	for i, part := range out {
		if len(out) > 1 {
			part.Description = fmt.Sprintf("%s, part %d of %d", whole.Description, i+1, len(out))
		}
	}
	return out
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
