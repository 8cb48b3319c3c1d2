package compose

import (
	"slices"
	"strings"
	"testing"
)

// W2: what would give a container the machine is found before the boot.
func TestW2_ServicesThatWantTheMachine(t *testing.T) {
	for _, tt := range []struct{ service, wantErr string }{
		{"", ""},
		{"privileged: false", ""},
		{"privileged: true", "it is privileged"},
		{"privileged: '${P:-true}'", "it is privileged"},
		{"pid: host", "the machine's processes"},
		{"pid: 'service:db'", ""},
		{"ipc: host", "the machine's shared memory"},
		{"ipc: shareable", ""},
		{"network_mode: host", ""},
		{"cgroup_parent: /", "cgroup_parent"},
		{"cap_add: [NET_ADMIN, CAP_SYS_NICE]", ""},
		{"cap_add: [SYS_ADMIN]", "capability SYS_ADMIN"},
		{"cap_add: [ALL]", "capability ALL"},
		{"cap_add: [MKNOD]", "capability MKNOD"},
		{"cap_add: [cap_dac_read_search]", "capability cap_dac_read_search"},
		{"devices: ['/dev/net/tun:/dev/net/tun', /dev/fuse]", ""},
		{"devices: [/dev/tdx_guest]", "device /dev/tdx_guest"},
		{"devices: [{source: /dev/vda, target: /dev/x}]", "device /dev/vda"},
		{"device_cgroup_rules: ['c 10:* rwm']", "device rule"},
		{"security_opt: ['no-new-privileges:true', 'seccomp:unconfined']", ""},
		{"security_opt: [systempaths=unconfined]", "systempaths"},
		{"volumes: ['data:/data', './here:/there', '/srv/app:/app:rw', '/etc/localtime:/etc/localtime:ro', '/var/lib/app:/app', '~/x:/x']", ""},
		{"volumes: [/anonymous]", ""},
		{"volumes: ['/var/run/docker.sock:/var/run/docker.sock']", "/var/run/docker.sock of the machine"},
		{"volumes: ['/:/host:ro']", "/ of the machine"},
		{"volumes: ['/var:/host']", "/var of the machine"},
		{"volumes: ['/var/lib:/host']", "/var/lib of the machine"},
		{"volumes: ['/srv/../dev:/host']", "/dev of the machine"},
		{"volumes: ['/etc/ssl:/etc/ssl:ro']", "/etc/ssl of the machine"},
		{"volumes: [{type: bind, source: /sys/kernel, target: /x}]", "/sys/kernel of the machine"},
		{"volumes: [{type: bind, source: /srv/x, target: /sys}]", ""},
	} {
		file := "services: { web: { image: nginx, " + tt.service + " }, db: { image: nginx } }\nvolumes: { data: {} }\n"
		_, err := Parse([]byte(file), nil)
		switch {
		case tt.wantErr == "" && err != nil:
			t.Errorf("%s: %v", tt.service, err)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), "service web: ") || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), "privileged: [web]")):
			t.Errorf("%s: %v, want an error with %q", tt.service, err, tt.wantErr)
		}
		trusted := "x-secretvm: { images: tag, privileged: [web] }\n" + file
		w, err := Parse([]byte(trusted), nil)
		if err != nil || !slices.Equal(w.Settings.Privileged, []string{"web"}) {
			t.Errorf("%s, trusted: %v", tt.service, err)
		}
	}
}

func TestWorkloadSettings(t *testing.T) {
	file := "\nservices: { web: { image: nginx }, seed: { image: nginx, profiles: [seed], ports: ['81:81'] }, x: { image: nginx, network_mode: host, profiles: [odd] } }\n"
	for _, tt := range []struct{ block, want, wantErr string }{
		{"egress: all", "[] [] [] 0", ""},
		{"egress: none", "[none] [] [] 0", "network_mode"},
		{"egress: none, privileged: [x]", "[none] [x] [] 0", ""},
		{"egress: ['b.example:1', 'a.example:1', 'a.example:1'], privileged: [x]", "[a.example:1 b.example:1] [x] [] 0", ""},
		{"profiles: [seed]", "[] [] [seed] 1", ""},
		{"egress: []", "", "write none, or all"},
		{"egress: nothing", "", "is not one of all, none"},
		{"egress: [none]", "", "is not host:port"},
		{"egress: [Example.org:1]", "", "in lower case"},
		{"privileged: [wep]", "", `did you mean "web"?`},
		{"profiles: [sed]", "", `did you mean "seed"?`},
	} {
		w, err := Parse([]byte("x-secretvm: { images: tag, "+tt.block+" }"+file), nil)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) && tt.want == "" {
				t.Errorf("%s: %v, want an error with %q", tt.block, err, tt.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.block, err)
			continue
		}
		cfg, err := w.Config("svm1abc/x", testKMS, testInstance)
		if got := strings.TrimSpace(strings.Join([]string{list(cfg.Egress), list(cfg.Privileged), list(cfg.Profiles)}, " ")) + " " + string(rune('0'+len(w.Ports()))); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.block, got, err, tt.want)
		}
	}
}

func list(s []string) string { return "[" + strings.Join(s, " ") + "]" }
