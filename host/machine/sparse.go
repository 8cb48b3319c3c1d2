package machine

import (
	"io/fs"
	"syscall"
)

// allocated returns how many bytes of the file system a file takes.
func allocated(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512 // st_blocks counts 512-byte units, whatever the file system's block size
	}
	return info.Size()
}
