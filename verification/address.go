package verification

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// DefaultPort is where attestation services listen.
const DefaultPort = "29343"

// Address is where an attestation service answers.
type Address struct {
	Host   string // name or IP address, without brackets
	Port   string
	Prefix string // path in front of the endpoints, without a final slash; mostly empty
}

// ParseAddress reads an https URL, host:port or a bare host. What a verifier
// would ignore (user, query, fragment) or must not do (http) is an error.
func ParseAddress(s string) (Address, error) {
	refuse := func(found, wanted string) (Address, error) {
		return Address{}, vm.Refuse(vm.CodeInvalid, "cannot verify %q", s).On("address", found, wanted).
			Try("for example https://vm.example:29343")
	}
	if !strings.Contains(s, "://") {
		if net.ParseIP(s) != nil && strings.Contains(s, ":") { // a bare IPv6 address
			s = "[" + s + "]"
		}
		s = "https://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return refuse("not a URL", "an https URL or a host")
	case u.Scheme != "https":
		return refuse(u.Scheme+"://", "https://, for the quote binds the TLS key")
	case u.Hostname() == "":
		return refuse("without a host", "a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return refuse("with user, query or fragment", "host, port and path only")
	}
	a := Address{Host: u.Hostname(), Port: u.Port(), Prefix: strings.TrimRight(u.EscapedPath(), "/")}
	if a.Port == "" {
		a.Port = DefaultPort
	}
	if n, err := strconv.ParseUint(a.Port, 10, 16); err != nil || n == 0 {
		return refuse("port "+a.Port, "1 to 65535")
	}
	return a, nil
}

// HostPort is what to dial.
func (a Address) HostPort() string { return net.JoinHostPort(a.Host, a.Port) }

// String is the URL.
func (a Address) String() string { return "https://" + a.HostPort() + a.Prefix }
