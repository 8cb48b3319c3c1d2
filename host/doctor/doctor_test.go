package doctor

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

var update = flag.Bool("update", false, "write what is wanted")

// record is a computer in testdata: its files, probe.json, and what doctor
// must print of it (want).
func record(t *testing.T, file string) (*txtar.Archive, Facts) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p Probe
	root := fstest.MapFS{}
	for _, f := range a.Files {
		switch f.Name {
		case "want":
		case "probe.json":
			if err := json.Unmarshal(f.Data, &p); err != nil {
				t.Fatal(err)
			}
		default:
			root[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return a, Gather(root, p)
}

func TestReports(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d records: %v", len(files), err)
	}
	ready := map[string][]vm.TEE{
		"tdx-ready": {vm.Soft, vm.TDX}, "snp-ready": {vm.Soft, vm.SNP}, "laptop": {vm.Soft}, "tdx-bios-off": {vm.Soft},
		"snp-without-rmp": {vm.Soft}, "not-in-group-kvm": {vm.Soft}, "virtual-machine": {vm.Soft}, "nothing-known": {},
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			a, facts := record(t, file)
			report := Judge(facts)
			var got strings.Builder
			if _, err := report.WriteTo(&got); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if *update {
				a.Files[i].Data = []byte(got.String())
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != string(a.Files[i].Data) {
				t.Errorf("report differs (go test ./host/doctor -update, and look at the difference):\n%s", &got)
			}
			want, known := ready[name]
			if !known {
				t.Fatal("say what this computer can run")
			}
			for _, tee := range []vm.TEE{vm.Soft, vm.TDX, vm.SNP} {
				if report.Ready[tee] != slices.Contains(want, tee) {
					t.Errorf("%s: ready is %v", tee, report.Ready[tee])
				}
				if report.Ready[tee] != (len(report.Missing(tee)) == 0) {
					t.Errorf("%s: ready is %v, missing %v", tee, report.Ready[tee], report.Missing(tee))
				}
			}
			for _, c := range report.Checks {
				if c.State == Lacking && c.Fix == "" || c.State == Fine && c.Fix != "" || c.Found == "" {
					t.Errorf("%+v: what is lacking has a fix, and nothing else needs one", c)
				}
			}
		})
	}
}

// Each fact by itself, changed on a host that is ready, is found by its check
// and by no other.
func TestWhatIsLacking(t *testing.T) {
	without := func(flag string) func(*Facts) { return func(f *Facts) { delete(f.CPU.Flags, flag) } }
	for _, row := range []struct {
		file   string
		tee    vm.TEE
		change func(*Facts)
		want   string // checks that are lacking
		fix    string // in the first one's
	}{
		{"tdx-ready", vm.TDX, func(*Facts) {}, "", ""},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.Kernel = Version{6, 15} }, "kernel", "6.16"},
		{"tdx-ready", vm.TDX, func(f *Facts) {
			f.Parameters["kvm_intel.tdx"], f.CommandLine = "N", nil
		}, "kvm_intel", "modprobe.d"},
		{"tdx-ready", vm.TDX, func(f *Facts) {
			f.Parameters["kvm_intel.tdx"], f.CommandLine = "N", []string{"kvm_intel.tdx=1"}
		}, "kvm_intel", "dmesg"},
		{"tdx-ready", vm.TDX, func(f *Facts) { delete(f.Parameters, "kvm_intel.tdx") }, "kvm_intel", "CONFIG_KVM_INTEL_TDX"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.VMTypes = 1 }, "machines", "dmesg"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.GuestMemfd = false }, "machines", "CONFIG_KVM_GUEST_MEMFD"},
		{"tdx-ready", vm.TDX, without("sgx"), "sgx", "BIOS"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.SGX = false }, "sgx", "CONFIG_X86_SGX"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.QGS = QGS{} }, "qgs", "install"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.QGS.Running = false }, "qgs", "systemctl enable"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.QGS.Port = 0 }, "qgs", "port = 4050"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.QGS.Port = 4051 }, "qgs", "port = 4050"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.PCCS = PCCS{} }, "pccs", "qpl"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.PCCS.Listening = false }, "pccs", "pccs"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.Firmware, f.TDXFirmware = "x", "no TDVF metadata" }, "firmware", "image"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.KVM = Absent }, "kvm", "modprobe kvm_intel"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.KVM, f.Groups = Denied, nil }, "kvm", "newgrp"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.KVM = Denied }, "kvm", "chgrp"},
		{"tdx-ready", vm.TDX, func(f *Facts) { f.CPU.Flags["hypervisor"] = true }, "processor", "bare metal"},
		{"snp-ready", vm.SNP, func(*Facts) {}, "", ""},
		{"snp-ready", vm.SNP, func(f *Facts) { f.Kernel = Version{6, 8} }, "kernel", "6.11"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.CommandLine = []string{"iommu=pt"} }, "iommu", "take it away"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.Parameters["kvm_amd.sev_snp"] = "N" }, "kvm_amd", "modprobe.d"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.SEV = Denied }, "/dev/sev", "udev"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.SEV = Absent }, "/dev/sev", "ccp"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.VMTypes = 1 << typeTDX }, "machines", "dmesg"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.Encryption = qemu.Encryption{} }, "encryption", "BIOS"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.Firmware, f.SNPFirmware = "x", "takes no hashes" }, "firmware", "Debian's OVMF.fd"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.CPU.Family = 0x17; delete(f.CPU.Flags, "sev_snp") }, "processor", "Milan"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.Free = 1 << 20 }, "memory", "512 MiB"},
		{"snp-ready", vm.SNP, func(f *Facts) { f.QEMUError = "find QEMU: not there" }, "qemu", "locked"},
	} {
		_, facts := record(t, "testdata/"+row.file+".txtar")
		row.change(&facts)
		var names, fixes []string
		for _, c := range Judge(facts).Missing(row.tee) {
			names, fixes = append(names, c.Name), append(fixes, c.Fix)
		}
		if got := strings.Join(names, " "); got != row.want || row.fix != "" && (len(fixes) == 0 || !strings.Contains(fixes[0], row.fix)) {
			t.Errorf("lacking is %q (%q), want %q with %q", got, fixes, row.want, row.fix)
		}
	}
}

// A file of /proc does not move the cursor of whoever looks at the report.
func TestReportIsPrintable(t *testing.T) {
	_, facts := record(t, "testdata/laptop.txtar")
	facts.CPU.Name = "a\x1b[2Jb\nc"
	var b strings.Builder
	if _, err := Judge(facts).WriteTo(&b); err != nil || strings.Contains(b.String(), "\x1b") || strings.Contains(b.String(), "b\nc") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// Look works on any computer, as anybody.
func TestLook(t *testing.T) {
	p := Look()
	if p.User == "" || p.KVM == "" || p.SEV == "" {
		t.Errorf("probe is %+v", p)
	}
	if r := Judge(Gather(os.DirFS("/"), p)); len(r.Checks) == 0 {
		t.Error("nothing was checked")
	}
}

// FuzzGather: whatever the files hold, the report keeps its promises.
func FuzzGather(f *testing.F) {
	f.Add("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : vmx\n\n")
	f.Add("proc/net/tcp", "0: 0100007F:1F91 0:0 0A\n")
	f.Add("etc/group", "kvm:x:993:alice,,bob\n")
	f.Add("etc/qgs.conf", "port=\n")
	f.Add("etc/sgx_default_qcnl.conf", "\"pccs_url\": \"http://[::1]:99999999999/\"")
	f.Add("proc/sys/kernel/osrelease", "6.99999999999999999999")
	f.Fuzz(func(t *testing.T, name, content string) {
		if !fs.ValidPath(name) || name == "." {
			t.Skip()
		}
		report := Judge(Gather(fstest.MapFS{name: &fstest.MapFile{Data: []byte(content)}}, Probe{User: "alice"}))
		for _, c := range report.Checks {
			if c.Found == "" || c.State == Lacking && c.Fix == "" {
				t.Errorf("%+v says nothing", c)
			}
		}
		for tee, ready := range report.Ready {
			if ready != (len(report.Missing(tee)) == 0) {
				t.Errorf("%s: ready is %v, missing %v", tee, ready, report.Missing(tee))
			}
		}
	})
}
