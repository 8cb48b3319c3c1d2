//go:build faults

package faults

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clock is where a running process reads the time of day: the function that the
// kernel maps into it. Linux has no name space for that time, so the function is
// overwritten, in this one process, as debuggers set breakpoints.
type clock struct {
	memory *os.File
	at     int64  // address of the function
	was    []byte // its code
}

// vdsoSymbol is the function's name (vdso(7)).
const vdsoSymbol = "__vdso_clock_gettime"

// hasClock reports whether this test knows how to set a process's clock here.
const hasClock = runtime.GOOS == "linux" && runtime.GOARCH == "amd64"

func openClock(pid int) (clock, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return clock{}, err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return clock{}, err
			}
		}
	}
	c := clock{}
	if c.memory, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0); err != nil {
		return c, err
	}
	image := make([]byte, to-from)
	if _, err := c.memory.ReadAt(image, from); err != nil {
		return c, errors.Join(err, c.memory.Close())
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return c, errors.Join(err, c.memory.Close())
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return c, errors.Join(err, c.memory.Close())
	}
	for _, s := range symbols {
		if s.Name == vdsoSymbol {
			c.at, c.was = from+int64(s.Value), image[s.Value:][:len(skewed(0))]
			return c, nil
		}
	}
	return c, errors.Join(errors.New("this kernel maps no clock into processes"), c.memory.Close())
}

// skewed is the code of a clock that is wrong by so many seconds.
func skewed(seconds int32) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{
		0xb8, 0xe4, 0, 0, 0, // mov eax, clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
		0x75, 0x07, // jnz over the next
		0x48, 0x81, 0x06, // add qword [rsi], seconds
	}, uint32(seconds)), 0xc3) // ret
}

// write replaces the function while none of the process's threads is in it.
func (c clock) write(pid int, code []byte) error {
	for range 100 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond) // until all threads stand
		busy, err := c.busy(pid)
		if err == nil && !busy {
			_, err = c.memory.WriteAt(code, c.at)
		}
		if err := errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)); err != nil || !busy {
			return err
		}
	}
	return errors.New("some thread is always looking at the clock")
}

// busy reports whether a thread of a stopped process is in the function.
func (c clock) busy(pid int) (bool, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, thread.Name()))
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(b))
		var pc int64
		if _, err := fmt.Sscanf(fields[len(fields)-1], "0x%x", &pc); err != nil {
			return true, nil // it still runs
		}
		if pc >= c.at && pc < c.at+int64(len(c.was)) {
			return true, nil
		}
	}
	return false, nil
}

// setClock makes a node's clock wrong by so many seconds, at once and while it
// runs, as a bad time server does. It stays wrong when the node is started again.
func (p *process) setClock(t *testing.T, seconds int32) {
	t.Helper()
	p.skew = seconds
	c, err := openClock(p.cmd.Process.Pid)
	if err == nil {
		err = errors.Join(c.write(p.cmd.Process.Pid, skewed(seconds)), c.memory.Close())
	}
	p.excuse(t, err)
	p.right = c.was
}

// rightClock undoes setClock.
func (p *process) rightClock(t *testing.T) {
	t.Helper()
	p.skew = 0
	c, err := openClock(p.cmd.Process.Pid)
	if err == nil {
		err = errors.Join(c.write(p.cmd.Process.Pid, p.right), c.memory.Close())
	}
	p.excuse(t, err)
}

// excuse accepts an error of setting the clock of a node that is gone by now.
func (p *process) excuse(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		t.Fatalf("set the clock of node %d: %v", p.index, err)
	}
}
