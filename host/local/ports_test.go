package local

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// busyPort returns a port of loopback that is taken until the test ends.
func busyPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// freePort returns a port of loopback that nothing listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestPlan(t *testing.T) {
	web, api := freePort(t), freePort(t)
	ports := []compose.Port{
		{Service: "web", Host: uint16(web), Container: 8080, Protocol: "tcp"},
		{Service: "web", Host: uint16(web), HostIP: "::", Container: 8080, Protocol: "tcp"},
		{Service: "api", Host: uint16(api), Container: 8443, Protocol: "tcp"},
		{Service: "dns", Host: 53, Container: 53, Protocol: "udp"},
		{Service: "db", Host: 0, Container: 6379, Protocol: "tcp"},
		{Service: "db", Host: 6380, HostIP: "127.0.0.1", Container: 6379, Protocol: "tcp"},
	}
	addresses, attestation, notes, err := plan(ports, map[int]int{api: 0, vm.AttestationPort: 0})
	if err != nil {
		t.Fatal(err)
	}
	if len(addresses) != 2 || addresses[0] != (Address{"web", web, web, "http://127.0.0.1:" + strconv.Itoa(web)}) {
		t.Fatalf("addresses are %+v", addresses)
	}
	if a := addresses[1]; a.Port != api || a.Host == 0 || !strings.HasPrefix(a.URL, "https://127.0.0.1:") {
		t.Errorf("second address is %+v", a)
	}
	if len(notes) != 3 {
		t.Errorf("notes are %q, want one for each port that is not forwarded", notes)
	}
	want := []qemu.Forward{{Host: attestation, Guest: vm.AttestationPort}, {Host: web, Guest: web}, {Host: addresses[1].Host, Guest: api}}
	if got := forwards(addresses, attestation); !slices.Equal(got, want) {
		t.Errorf("forwards are %v, want %v", got, want)
	}
}

// TestPlanForAuthorities: where an authority asks is forwarded too, and a
// computer that has the port in use still starts the machine.
func TestPlanForAuthorities(t *testing.T) {
	busy, free := busyPort(t), freePort(t)
	asks := func(port int) []compose.Port {
		return []compose.Port{{Service: "certificates", Host: uint16(port), Protocol: "tcp"}}
	}
	all := map[int]int{vm.AttestationPort: 0}
	addresses, _, notes, err := plan(asks(free), all)
	if err != nil || len(notes) != 0 || len(addresses) != 1 || addresses[0].URL != "tcp://127.0.0.1:"+strconv.Itoa(free) {
		t.Errorf("addresses are %+v, %q, %v", addresses, notes, err)
	}
	addresses, _, notes, err = plan(asks(busy), all)
	if err != nil || len(addresses) != 0 || len(notes) != 1 || !strings.Contains(notes[0], "--port "+strconv.Itoa(busy)+"=N") {
		t.Errorf("in use: addresses are %+v, %q, %v", addresses, notes, err)
	}
	all[busy] = 0
	if addresses, _, _, err = plan(asks(busy), all); err != nil || len(addresses) != 1 || addresses[0].Host == busy {
		t.Errorf("elsewhere: addresses are %+v, %v", addresses, err)
	}
}

func TestPlanRefuses(t *testing.T) {
	busy, free := busyPort(t), freePort(t)
	tcp := func(host int) compose.Port {
		return compose.Port{Service: "s" + strconv.Itoa(host), Host: uint16(host), Container: 80, Protocol: "tcp"}
	}
	for name, tc := range map[string]struct {
		ports   []compose.Port
		asked   map[int]int
		wantErr string
	}{
		"taken port":             {[]compose.Port{tcp(busy)}, nil, "is not free on this computer"},
		"taken port names flag":  {[]compose.Port{tcp(busy)}, nil, "--port " + strconv.Itoa(busy) + "=N"},
		"taken by choice":        {[]compose.Port{tcp(free)}, map[int]int{free: busy}, strconv.Itoa(busy)},
		"attestation is taken":   {nil, map[int]int{vm.AttestationPort: busy}, "wanted for the attestation service"},
		"not published":          {[]compose.Port{tcp(free)}, map[int]int{1234: 0, vm.AttestationPort: 0}, "publishes no TCP port 1234"},
		"one port wanted by two": {[]compose.Port{tcp(free), tcp(free + 1)}, map[int]int{free + 1: free}, "wanted by service"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := plan(tc.ports, tc.asked)
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}
