package snp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
)

// What is read of an ATTESTATION_REPORT (SEV-SNP firmware ABI 1.58, table 23):
// enough to see that the answer is to the question. Verifiers read the rest.
const (
	reportSize   = 0x4a0
	vmplAt       = 0x30 // u32, little-endian
	dataAt       = 0x50 // 64 bytes: REPORT_DATA
	hostDataAt   = 0xc0
	hostDataSize = 32
)

// The interface (Documentation/ABI/testing/configfs-tsm-report in Linux). A
// folder made below reports is a request: inblob takes the report data and
// outblob gives the report; generation counts writes.
const (
	reports  = configfsi.TsmPrefix + "/report"
	provider = "sev_guest"

	// level is the privilege level (VMPL) that reports are asked for: the highest,
	// where Linux runs in machines that have nothing beside it.
	level = "0"

	// attempts bounds how often a request that something disturbed is made anew.
	attempts = 3
)

// errDisturbed says that a request was written to between its question and its
// answer, so that the answer may be to another question.
var errDisturbed = errors.New("the request was changed while it was answered")

// ask makes one report, in a request of its own.
func ask(client configfsi.Client, reportData [64]byte) (blob []byte, err error) {
	for range attempts {
		blob, err = askOnce(client, reportData)
		if !errors.Is(err, errDisturbed) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	return blob, err
}

func askOnce(client configfsi.Client, reportData [64]byte) (blob []byte, err error) {
	entry, err := client.MkdirTemp(reports, "secretvm-")
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	defer func() {
		if removing := client.RemoveAll(entry); err == nil && removing != nil {
			err = fmt.Errorf("remove the request: %w", removing)
		}
	}()
	before, err := generation(client, entry)
	if err != nil {
		return nil, err
	}
	written := []struct {
		name  string
		value []byte
	}{{"privlevel", []byte(level)}, {"inblob", reportData[:]}}
	for _, w := range written {
		if err := client.WriteFile(entry+"/"+w.name, w.value); err != nil {
			return nil, explain(client, entry, w.name, err)
		}
	}
	blob, err = client.ReadFile(entry + "/outblob")
	if err != nil {
		return nil, fmt.Errorf("read outblob: %w", err)
	}
	by, err := client.ReadFile(entry + "/provider")
	if err != nil {
		return nil, fmt.Errorf("read provider: %w", err)
	}
	after, err := generation(client, entry)
	switch {
	case err != nil:
		return nil, err
	case after != before+uint64(len(written)):
		return nil, fmt.Errorf("%w: generation is %d, want %d", errDisturbed, after, before+uint64(len(written)))
	case strings.TrimSuffix(string(by), "\n") != provider:
		return nil, fmt.Errorf("provider is %.32q, want %q", by, provider)
	}
	return check(blob, reportData)
}

func generation(client configfsi.Client, entry string) (uint64, error) {
	text, err := client.ReadFile(entry + "/generation")
	if err != nil {
		return 0, fmt.Errorf("read generation: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("generation is %.32q, want a number", text)
	}
	return n, nil
}

// explain says why the kernel does not take the privilege level: Linux itself
// runs below it, under a module that nobody measured for this image.
func explain(client configfsi.Client, entry, name string, err error) error {
	if floor, reading := client.ReadFile(entry + "/privlevel_floor"); name == "privlevel" && reading == nil {
		if f := strings.TrimSuffix(string(floor), "\n"); f != level {
			return fmt.Errorf("write privlevel: %w: the kernel runs at VMPL %.8s, want %s (launch without an SVSM)", err, f, level)
		}
	}
	return fmt.Errorf("write %s: %w", name, err)
}

// check returns the report without what may follow it.
func check(blob []byte, reportData [64]byte) ([]byte, error) {
	if len(blob) < reportSize {
		return nil, fmt.Errorf("report has %d bytes, want %d", len(blob), reportSize)
	}
	blob = blob[:reportSize]
	if !bytes.Equal(blob[dataAt:dataAt+len(reportData)], reportData[:]) {
		return nil, errors.New("report is about other data than was asked for")
	}
	if vmpl := binary.LittleEndian.Uint32(blob[vmplAt:]); strconv.FormatUint(uint64(vmpl), 10) != level {
		return nil, fmt.Errorf("report is of VMPL %d, want %s", vmpl, level)
	}
	return blob, nil
}
