package initramfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

var (
	composeFile = []byte("services:\n  web:\n    image: example@sha256:00\n")
	filesTar    = []byte("the bytes of an archive")
	rootHash    = vm.HashOf([]byte("root"))
	commandLine = "console=ttyS0 secretvm.verity=" + rootHash.String() + " secretvm.salt=" + rootHash.String() + " secretvm.blocks=300\n"
	errBroken   = errors.New("it is broken")
)

func config() vm.Config {
	files := vm.HashOf(filesTar)
	return vm.Config{
		Version: 1, ComposeHash: vm.HashOf(composeFile), FilesHash: &files, Service: "svm1owner/guestbook",
		KMS:        vm.KMS{ChainID: "test-1", GroupKey: strings.Repeat("8a", 96)},
		InstanceID: strings.Repeat("5", 32), TLS: "self", Images: "digest", GPU: "none",
	}
}

func canonical(t *testing.T, c vm.Config) []byte {
	t.Helper()
	b, err := c.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// machine is the system boundary: a TEE with working registers and disks with
// the given bytes. fail makes the named call return an error.
type machine struct {
	archive  configdisk.Archive
	disk     []byte // in place of archive
	line     string
	state    vm.Measurement
	fail     string
	swallow  int // the n-th extension, counted from 1, is answered but not done
	extended []string
	calls    []string
	reads    int
	handed   map[string][]byte
}

func (m *machine) call(name string) error {
	m.calls = append(m.calls, name)
	if m.fail == name {
		return errBroken
	}
	return nil
}

func (m *machine) MountBase() error             { return m.call("mount") }
func (m *machine) LoadModules() (int, error)    { return 6, m.call("modules") }
func (m *machine) OpenTEE() (tee.Device, error) { return m, m.call("open TEE") }
func (m *machine) CommandLine() (string, error) { return m.line, m.call("command line") }
func (m *machine) SwitchRoot() error            { m.calls = append(m.calls, "switch root"); return errBroken }

func (m *machine) OpenConfig(context.Context) (io.ReadCloser, error) {
	if err := m.call("config"); err != nil {
		return nil, err
	}
	disk := m.disk
	if disk == nil {
		var buf bytes.Buffer
		if err := configdisk.Write(&buf, m.archive); err != nil {
			return nil, err
		}
		disk = append(buf.Bytes(), make([]byte, 4096)...)
	}
	m.reads++
	if m.fail == "config read" {
		return io.NopCloser(io.MultiReader(bytes.NewReader(disk[:700]), broken{})), nil
	}
	return io.NopCloser(bytes.NewReader(disk)), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func (m *machine) MountRoot(_ context.Context, v vm.Verity) error {
	if v.RootHash != rootHash || v.DataBlocks != 300 {
		return fmt.Errorf("asked to mount %+v", v)
	}
	return m.call("root")
}

func (m *machine) HandOver(name string, content []byte) error {
	m.handed[name] = bytes.Clone(content)
	return m.call("hand over " + name)
}

func (m *machine) Kind() vm.TEE { return vm.Soft }

func (m *machine) Extend(_ context.Context, e vm.Event) error {
	if err := m.call("extend " + e.Name); err != nil {
		return err
	}
	m.extended = append(m.extended, e.Name)
	if len(m.extended) != m.swallow {
		m.state.RTMR[e.Register] = m.state.RTMR[e.Register].Extend(e.Digest)
	}
	return nil
}

func (m *machine) Read(context.Context) (vm.Measurement, error) { return m.state, m.call("read") }

func (m *machine) Quote(context.Context, [64]byte) (vm.Evidence, error) {
	return vm.Evidence{}, errors.New("stage 1 asks for no quote")
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	c := config()
	id, err := c.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{line: commandLine, handed: map[string][]byte{}}
	m.archive = configdisk.Archive{Config: canonical(t, c), Compose: composeFile, Files: filesTar, Hints: configdisk.Hints{KMS: []string{"http://10.0.2.2:26680"}}}
	m.state.MRConfigID = id
	return m
}

// boot runs stage 1 and returns what the console shows and its error.
func (m *machine) boot(t *testing.T) (shown string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = Boot(t.Context(), m, console.New(&out))
	return out.String(), err
}

func TestBoot(t *testing.T) {
	m := newMachine(t)
	shown, err := m.boot(t)
	if err == nil || err.Error() != "switch root: it is broken" { // the fake's SwitchRoot always returns
		t.Fatalf("boot ends with %v", err)
	}
	want := []string{
		"mount", "modules", "open TEE", "read", "config", "read", "command line", "root",
		"extend os-image-hash", "extend compose-hash", "extend docker-files-hash", "extend config-hash", "extend boot-complete", "read",
		"hand over config.json", "hand over docker-compose.yaml", "hand over events.json", "hand over files.tar", "hand over hints.json",
		"hand over steps.json", "switch root",
	}
	if !slices.Equal(m.calls, want) {
		t.Errorf("calls are\n%q, want\n%q", m.calls, want)
	}
	if lines := strings.Split(shown, "\n"); len(lines) != 3 || lines[0] != `secretvm: {"step":"measure","state":"start"}` || !strings.Contains(lines[1], `"state":"ok"`) {
		t.Errorf("console shows\n%s", shown)
	}
	var events []vm.Event
	if err := json.Unmarshal(m.handed[EventsName], &events); err != nil {
		t.Fatal(err)
	}
	if rtmr, err := vm.Replay(events); err != nil || rtmr != m.state.RTMR {
		t.Errorf("events that were handed over do not explain the registers: %v", err)
	}
	var steps []step.Result
	if err := json.Unmarshal(m.handed[StepsName], &steps); err != nil || len(steps) != 1 || steps[0].Name != Step || steps[0].Error != "" {
		t.Errorf("steps are %s, %v", m.handed[StepsName], err)
	}
	for name, want := range map[string][]byte{"config.json": m.archive.Config, "docker-compose.yaml": composeFile, "files.tar": filesTar, "hints.json": []byte(`{"kms":["http://10.0.2.2:26680"]}`)} {
		if !bytes.Equal(m.handed[name], want) {
			t.Errorf("%s was handed over as %q, want %q", name, m.handed[name], want)
		}
	}
}

func TestBootWithoutFiles(t *testing.T) {
	m := newMachine(t)
	c := config()
	c.FilesHash = nil
	m.archive.Config, m.archive.Files = canonical(t, c), nil
	m.state.MRConfigID, _ = c.ConfigID()
	if _, err := m.boot(t); !strings.Contains(err.Error(), "switch root") {
		t.Fatal(err)
	}
	if slices.Contains(m.extended, vm.EventFiles) || len(m.extended) != 4 || m.extended[3] != vm.EventBootComplete {
		t.Errorf("events are %q", m.extended)
	}
	if _, there := m.handed[configdisk.FilesName]; there {
		t.Error("a files archive was handed over that does not exist")
	}
}

// refused boots m, which must fail with a reason that holds want, and must not
// get as far as stage 2.
func refused(t *testing.T, m *machine, want string) {
	t.Helper()
	shown, err := m.boot(t)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want one with %q", err, want)
	}
	if slices.Contains(m.calls, "switch root") {
		t.Error("stage 2 was started")
	}
	if m.reads > 1 {
		t.Errorf("the config disk was read %d times", m.reads)
	}
	if slices.Contains(m.extended, vm.EventBootComplete) && m.swallow == 0 && !strings.HasPrefix(m.fail, "hand over") {
		t.Error("boot-complete was extended")
	}
	if !strings.HasPrefix(m.fail, "hand over") && !strings.Contains(shown, `"state":"failed"`) {
		t.Errorf("console shows\n%s", shown)
	}
}

func TestB3_AnyFailureHalts(t *testing.T) {
	for _, call := range []string{
		"mount", "modules", "open TEE", "read", "config", "config read", "command line", "root",
		"extend os-image-hash", "extend compose-hash", "extend docker-files-hash", "extend config-hash", "extend boot-complete",
		"hand over config.json", "hand over steps.json",
	} {
		t.Run(call, func(t *testing.T) {
			m := newMachine(t)
			m.fail = call
			refused(t, m, errBroken.Error())
		})
	}
}

func TestB3_TEEThatSwallowsAnEventHalts(t *testing.T) {
	for n := 1; n <= 5; n++ {
		m := newMachine(t)
		m.swallow = n
		refused(t, m, "after 5 events, want")
	}
}

func TestB3_UsedRegisterHalts(t *testing.T) {
	m := newMachine(t)
	m.state.RTMR[3][0] = 1
	refused(t, m, "before the first event, want zero")
}

func TestB3_DamagedArchiveHalts(t *testing.T) {
	whole := func() []byte {
		var buf bytes.Buffer
		if err := configdisk.Write(&buf, newMachine(t).archive); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	withoutCompose := func() []byte {
		b := whole()
		at := bytes.Index(b, []byte(configdisk.ComposeName))
		return append(b[:at:at], b[at+1024:]...) // its header and its only block
	}
	tests := []struct {
		name string
		disk []byte
	}{
		{"empty disk", []byte{}},
		{"zeros", make([]byte, 8192)},
		{"cut", whole()[:1500]},
		{"missing compose", withoutCompose()},
		{"over 16 MiB", append(whole(), make([]byte, configdisk.MaxArchiveSize)...)},
		{"bytes behind the archive", append(whole(), 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.disk = tt.disk
			refused(t, m, "config: ")
			if len(m.extended) != 0 {
				t.Errorf("extended %q", m.extended)
			}
		})
	}
}

func TestB2_OtherWorkloadHalts(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*machine)
		wantErr string
	}{
		{"other compose file", func(m *machine) { m.archive.Compose = append(bytes.Clone(composeFile), ' ') }, "docker-compose.yaml is not the one of the config: SHA-256 is"},
		{"other files", func(m *machine) { m.archive.Files = []byte("other") }, "files archive is not the one of the config"},
		{"missing files", func(m *machine) { m.archive.Files = nil }, "of the config is missing"},
		{"files that nobody measured", func(m *machine) {
			c := config()
			c.FilesHash = nil
			m.archive.Config = canonical(t, c)
			m.state.MRConfigID, _ = c.ConfigID()
		}, "that the config does not name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			tt.change(m)
			refused(t, m, tt.wantErr)
		})
	}
}

func TestB4_OtherConfigHalts(t *testing.T) {
	changes := map[string]func(*vm.Config){
		"service":     func(c *vm.Config) { c.Service = "svm1other/guestbook" },
		"KMS chain":   func(c *vm.Config) { c.KMS.ChainID = "test-2" },
		"KMS key":     func(c *vm.Config) { c.KMS.GroupKey = strings.Repeat("8b", 96) },
		"instance id": func(c *vm.Config) { c.InstanceID = strings.Repeat("6", 32) },
		"storage":     func(c *vm.Config) { c.Disk.Ephemeral = true },
		"open":        func(c *vm.Config) { c.Open = []string{"logs"} },
		"images":      func(c *vm.Config) { c.Images = "tag" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c := config()
			change(&c)
			m.archive.Config = canonical(t, c)
			refused(t, m, "MR_CONFIG_ID is")
		})
	}
	t.Run("not canonical", func(t *testing.T) {
		m := newMachine(t)
		m.archive.Config = append(bytes.Clone(m.archive.Config), '\n')
		refused(t, m, "not in canonical form")
	})
}

func TestB1_CommandLineWithoutRootHashHalts(t *testing.T) {
	for name, line := range map[string]string{
		"nothing":       "console=ttyS0",
		"two hashes":    commandLine + " secretvm.verity=" + rootHash.String(),
		"debug setting": commandLine + " secretvm.shell=1",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.line = line
			refused(t, m, "kernel command line: ")
		})
	}
}

// TestB5_ImageAndConfigAgreeOnDevelopment: an image for development boots under no
// config that hides it, and no other image under one that claims it.
func TestB5_ImageAndConfigAgreeOnDevelopment(t *testing.T) {
	for _, tt := range []struct {
		line, config bool
		wantErr      string
	}{
		{false, false, ""},
		{true, true, ""},
		{true, false, "dev is false, want true [dev-image]"},
		{false, true, "dev is true, want false [dev-image]"},
	} {
		m, c := newMachine(t), config()
		c.Dev = tt.config
		if tt.line {
			m.line = strings.TrimSuffix(commandLine, "\n") + " " + vm.DevArgument + "\n"
		}
		m.archive.Config = canonical(t, c)
		var err error
		if m.state.MRConfigID, err = c.ConfigID(); err != nil {
			t.Fatal(err)
		}
		if tt.wantErr != "" {
			refused(t, m, tt.wantErr)
			continue
		}
		if _, err := m.boot(t); !errors.Is(err, errBroken) || m.calls[len(m.calls)-1] != "switch root" {
			t.Errorf("dev %t: %v after %q", tt.line, err, m.calls)
		}
	}
	for _, line := range []string{"secretvm.dev=0", "secretvm.dev", "secretvm.dev=1x"} {
		m := newMachine(t)
		m.line = line + " " + commandLine
		refused(t, m, "unknown parameter secretvm.dev")
	}
}
