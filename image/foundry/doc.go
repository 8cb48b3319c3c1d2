// Package foundry makes one file from locked sources with locked tools, so that
// the same bytes come out everywhere: the build sees only those, always at the
// same path, without a network and without anything of the machine; what it
// yields must have the SHA-256 that this repository names. Our firmware
// (image/firmware), our kernel (image/linux) and NVIDIA's driver for the image
// (image/nvidia) are made here.
package foundry
