package egress

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/secretvm/secretvm/vm"
)

// inNamespace marks the process that a test starts for itself, in namespaces of
// its own, where it is root and has a network to ruin.
const inNamespace = "SECRETVM_TEST_NAMESPACE"

// alone runs the rest of the test in such a process. It reports whether this is
// the process to go on in.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("this computer gives no namespaces to its users: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// lab is a machine (the namespace of this process) with one container behind a
// bridge of its own and the world outside of its uplink.
type lab struct{ container, outside netns.NsHandle }

func newLab(t *testing.T) *lab {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Skipf("this kernel lacks what the test needs: %v", err)
		}
	}
	runtime.LockOSThread()
	machine, err := netns.Get()
	must(err)
	l := &lab{}
	l.container, err = netns.New()
	must(err)
	l.outside, err = netns.New()
	must(err)
	must(netns.Set(machine))
	runtime.UnlockOSThread()
	for _, ns := range []netns.NsHandle{machine, l.container, l.outside} {
		must(in(t, ns, func() error { // nobody else has these addresses
			return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
		}))
		h, err := netlink.NewHandleAt(ns)
		must(err)
		lo, err := h.LinkByName("lo")
		must(err)
		must(h.LinkSetUp(lo))
	}
	must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	must(os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	for _, w := range []struct {
		here, there, address, gateway string
		ns                            netns.NsHandle
		others                        []string
	}{
		{"docker0", "eth0", "172.17.0.", "fd17::", l.container, nil},
		{"uplink0", "eth0", "10.0.2.", "fd02::", l.outside, []string{
			"192.0.2.1/32", "192.0.2.2/32", "198.51.100.7/32", "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "2001:db8::1/128", "2001:db8::2/128", "fd00:ec2::254/128",
		}},
	} {
		must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: w.here}, PeerName: w.there, PeerNamespace: netlink.NsFd(w.ns)}))
		there, err := netlink.NewHandleAt(w.ns)
		must(err)
		here, err := netlink.NewHandle()
		must(err)
		for _, side := range []struct {
			h         *netlink.Handle
			name      string
			addresses []string
		}{
			{here, w.here, []string{w.address + "1/24", w.gateway + "1/64"}},
			{there, w.there, append([]string{w.address + "2/24", w.gateway + "2/64"}, w.others...)},
		} {
			link, err := side.h.LinkByName(side.name)
			must(err)
			for _, a := range side.addresses {
				address, err := netlink.ParseAddr(a)
				must(err)
				address.Flags = syscall.IFA_F_NODAD
				must(side.h.AddrAdd(link, address))
			}
			must(side.h.LinkSetUp(link))
		}
		link, err := there.LinkByName(w.there)
		must(err)
		for _, r := range []struct{ to, by string }{{"0.0.0.0/0", w.address + "1"}, {"::/0", w.gateway + "1"}} {
			to, err := netlink.ParseIPNet(r.to)
			must(err)
			must(there.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Gw: net.ParseIP(r.by)}))
		}
	}
	uplink, err := netlink.LinkByName("uplink0")
	must(err)
	for _, r := range []struct{ to, by string }{{"0.0.0.0/0", "10.0.2.2"}, {"::/0", "fd02::2"}} {
		to, err := netlink.ParseIPNet(r.to)
		must(err)
		must(netlink.RouteAdd(&netlink.Route{LinkIndex: uplink.Attrs().Index, Dst: to, Gw: net.ParseIP(r.by)}))
	}
	return l
}

// in runs do in a namespace.
func in[T any](t *testing.T, ns netns.NsHandle, do func() T) T {
	t.Helper()
	done := make(chan T)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			t.Error(err)
		}
		done <- do()
	}()
	return <-done
}

// listen answers on a TCP port of a namespace, on every address, with its number.
func listen(t *testing.T, ns netns.NsHandle, ports ...string) {
	t.Helper()
	for _, port := range ports {
		l := in(t, ns, func() net.Listener {
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				t.Fatal(err)
			}
			return l
		})
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(port))
				c.Close()
			}
		}()
	}
}

// reaches reports whether a namespace gets an answer at an address.
func reaches(t *testing.T, ns netns.NsHandle, address string) bool {
	t.Helper()
	return in(t, ns, func() bool {
		c, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 5)
		n, err := c.Read(b)
		return err == nil && n > 0
	})
}

func destinations(t testing.TB, texts ...string) (list []vm.Destination) {
	t.Helper()
	for _, s := range texts {
		d, err := vm.ParseDestination(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// W2: what containers can reach, in a real kernel.
func TestW2_ContainersReachOnlyTheList(t *testing.T) {
	if !alone(t) {
		return
	}
	l := newLab(t)
	listen(t, l.outside, "80", "443", "32526")
	listen(t, l.container, "8080")
	machine, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	listen(t, machine, "29343")
	type want struct {
		from    string
		address string
		open    bool
	}
	check := func(policy string, wants ...want) {
		t.Helper()
		for _, w := range wants {
			ns := map[string]netns.NsHandle{"container": l.container, "outside": l.outside, "machine": machine}[w.from]
			if got := reaches(t, ns, w.address); got != w.open {
				t.Errorf("%s: %s to %s: reached %v, want %v", policy, w.from, w.address, got, w.open)
			}
		}
	}
	check("without a policy", want{"container", "169.254.169.254:80", true}, want{"container", "192.0.2.1:80", true}, want{"container", "[2001:db8::1]:80", true})
	if t.Failed() {
		t.Fatal("the laboratory does not work")
	}

	if _, err := Install("uplink0", nil, false); err != nil {
		t.Skipf("this kernel lacks what the test needs: %v", err)
	}
	always := []want{
		{"container", "169.254.169.254:80", false},
		{"container", "100.100.100.200:80", false},
		{"container", "[fd00:ec2::254]:80", false},
		{"container", "168.63.129.16:80", false},
		{"container", "168.63.129.16:32526", false},
		{"machine", "169.254.169.254:80", false}, // containers in the machine's own network
		{"outside", "172.17.0.2:8080", true},     // what is published
		{"outside", "10.0.2.1:29343", true},      // who asks what the machine is
		{"container", "172.17.0.1:29343", true},
		{"machine", "192.0.2.1:80", true}, // the machine's own questions
	}
	check("no list", append(always, want{"container", "192.0.2.1:80", true}, want{"container", "168.63.129.16:443", true}, want{"container", "[2001:db8::1]:443", true})...)

	table, err := Install("uplink0", destinations(t, "192.0.2.1:443", "198.51.100.0/24:80", "[2001:db8::1]:443", "example.org:80", "169.254.169.254:80"), true)
	if err != nil {
		t.Fatal(err)
	}
	closed := []want{
		{"container", "192.0.2.1:80", false},
		{"container", "192.0.2.2:443", false},
		{"container", "198.51.100.7:443", false},
		{"container", "[2001:db8::1]:80", false},
		{"container", "[2001:db8::2]:443", false},
		{"container", "192.0.2.1:443", true},
		{"container", "198.51.100.7:80", true},
		{"container", "[2001:db8::1]:443", true},
	}
	check("a list", append(always, closed...)...)

	named := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:80"), netip.MustParseAddrPort("[2001:db8::2]:80")}
	if err := table.Change(named, nil); err != nil {
		t.Fatal(err)
	}
	check("names", append(closed, want{"container", "192.0.2.2:80", true}, want{"container", "[2001:db8::2]:80", true})...)
	if err := table.Change(nil, named); err != nil {
		t.Fatal(err)
	}
	check("names that ended", append(closed, want{"container", "192.0.2.2:80", false}, want{"container", "[2001:db8::2]:80", false})...)

	if _, err := Install("uplink0", nil, true); err != nil {
		t.Fatal(err)
	}
	check("nowhere", append(always, want{"container", "192.0.2.1:443", false}, want{"container", "[2001:db8::1]:443", false})...)
}
