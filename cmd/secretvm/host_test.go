package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/vm"
)

// TestHost runs the stories in testdata/host on the computer that it finds. In
// each, $TDX and $SNP are the exit codes of what this computer is asked for, and
// $OTHER is a TEE that it lacks. What doctor says of others is tested there, on
// records.
func TestHost(t *testing.T) {
	report := doctor.Judge(doctor.Gather(os.DirFS("/"), doctor.Look()))
	code := map[bool]string{true: "0", false: "1"}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/host",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("TDX", code[report.Ready[vm.TDX]])
			env.Setenv("SNP", code[report.Ready[vm.SNP]])
			env.Setenv("OTHER", string(vm.TDX))
			if report.Ready[vm.TDX] {
				env.Setenv("OTHER", string(vm.SNP))
			}
			for name, changed := range map[string]bool{"missing-metadata": false, "changed": true} {
				if err := writeImageOf(filepath.Join(env.WorkDir, name), make([]byte, 4096), changed); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: scriptCommands,
	})
}

// writeImageOf writes an image folder with a firmware file and no other.
func writeImageOf(dir string, firmware []byte, changed bool) error {
	file := vm.File{Name: "OVMF.fd", Size: int64(len(firmware)), SHA256: vm.HashOf(firmware)}
	m := vm.Manifest{Version: 1, Name: "base", Release: "v0.0.0", Firmware: file, Kernel: file, Initramfs: file, Rootfs: file}
	manifest, err := m.Encode()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if changed {
		firmware[0]++
	}
	if err := os.WriteFile(filepath.Join(dir, file.Name), firmware, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, vm.ManifestName), manifest, 0o600)
}
