// Package nvidia makes the archive of NVIDIA's driver that images for GPUs are
// built with: it compiles the open kernel modules of Debian's package for the
// image's kernel, with a patch of ours, and puts them beside the libraries and the
// firmware of Debian's packages. Nothing of it is in this repository: whoever
// builds fetches the packages, under NVIDIA's licence, which is in the archive.
//
// The same bytes come out everywhere: see package foundry.
package nvidia
