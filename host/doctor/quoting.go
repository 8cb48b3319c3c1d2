package doctor

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// readQGS looks for Intel's service: its configuration, and a process of its
// name (qgs), which anybody may see.
func readQGS(root fs.FS) (q QGS) {
	q.Installed = exists(root, "etc/qgs.conf")
	q.Port, _ = strconv.Atoi(setting(text(root, "etc/qgs.conf"), "port"))
	processes, err := fs.ReadDir(root, "proc")
	if err != nil {
		return q
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err == nil && strings.TrimSpace(text(root, "proc/"+p.Name()+"/comm")) == "qgs" {
			q.Running = true
			break
		}
	}
	return q
}

// The quoting library's configuration is JSON with comments: the one value that
// counts here is taken out of it.
var pccsPattern = regexp.MustCompile(`(?m)^\s*"pccs_url"\s*:\s*"([^"]{1,200})"`)

func readPCCS(root fs.FS) (p PCCS) {
	m := pccsPattern.FindStringSubmatch(text(root, "etc/sgx_default_qcnl.conf"))
	if m == nil {
		return p
	}
	u, err := url.Parse(m[1])
	if err != nil || u.Host == "" {
		return p
	}
	p.URL = m[1]
	ip := net.ParseIP(u.Hostname())
	p.Local = u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if p.Port, _ = strconv.Atoi(u.Port()); p.Port == 0 {
		p.Port = 443
	}
	p.Listening = listens(text(root, "proc/net/tcp"), p.Port) || listens(text(root, "proc/net/tcp6"), p.Port)
	return p
}

// listens looks for a listening socket (state 0A) at a port.
func listens(table string, port int) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], suffix) {
			return true
		}
	}
	return false
}
