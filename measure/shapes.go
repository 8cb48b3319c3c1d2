package measure

import "github.com/secretvm/secretvm/vm"

// commonMemory are the usual sizes of memory, in GiB.
var commonMemory = []int64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}

// Shapes are the machines that an image's manifest predicts, the default first:
// 1 to 64 vCPUs in powers of two, with every usual size of memory and no GPU.
func Shapes() []vm.Shape {
	shapes := []vm.Shape{vm.DefaultShape}
	for cpus := 1; cpus <= vm.MaxCPUs; cpus *= 2 {
		for _, memory := range commonMemory {
			if s := (vm.Shape{CPUs: cpus, Memory: memory << 30}); s != vm.DefaultShape {
				shapes = append(shapes, s)
			}
		}
	}
	return shapes
}

// CommonShapes are machines with 1 to 64 vCPUs, 1 to 512 GiB in usual steps and
// 0 to 8 GPUs.
func CommonShapes() []vm.Shape {
	shapes := make([]vm.Shape, 0, (vm.MaxShapeGPUs+1)*vm.MaxCPUs*len(commonMemory))
	for gpus := range vm.MaxShapeGPUs + 1 {
		for cpus := 1; cpus <= vm.MaxCPUs; cpus++ {
			for _, memory := range commonMemory {
				shapes = append(shapes, vm.Shape{CPUs: cpus, Memory: memory << 30, GPUs: gpus})
			}
		}
	}
	return shapes
}
