package image

import "context"

// BuildProgram compiles a package main of the module in source the way the
// guest's programs are compiled: static, for linux/amd64, with the toolchain that
// go.mod names and nothing of this machine in it.
func BuildProgram(ctx context.Context, source, command string) ([]byte, error) {
	return buildGuest(ctx, source, command)
}
