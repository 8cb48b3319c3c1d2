package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testPolicy(t *testing.T) Policy {
	t.Helper()
	dir := t.TempDir()
	p := Policy{
		Privileged: []string{"agent"}, Project: filepath.Join(dir, "project"), Disk: filepath.Join(dir, "disk"),
		Sockets: map[string]string{"web": "/run/secretvm/api/web.sock"}, TLS: []string{"web"},
		Secrets: filepath.Join(dir, "secrets"),
	}
	for _, d := range []string{filepath.Join(p.Project, "conf"), p.Disk, p.Secrets} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(p.Secrets, "token"), []byte("hunter2"), 0o444); err != nil {
		t.Fatal(err)
	}
	return p
}

func create(service, hostConfig string) []byte {
	return fmt.Appendf(nil, `{"Image":"nginx","Labels":{"com.docker.compose.service":%q},"HostConfig":{%s}}`, service, hostConfig)
}

// W2: containers do not get the machine, unless the measured config trusts them.
func TestW2_ContainersDoNotGetTheMachine(t *testing.T) {
	for _, tt := range []struct{ host, wantErr string }{
		{`"Privileged":true`, "privileged"},
		{`"CapAdd":["SYS_ADMIN"]`, "SYS_ADMIN"},
		{`"CapAdd":["CAP_SYS_MODULE","NET_ADMIN"]`, "SYS_MODULE"},
		{`"Devices":[{"PathOnHost":"/dev/tdx_guest","PathInContainer":"/dev/x"}]`, "/dev/tdx_guest"},
		{`"Devices":[{"PathOnHost":"/dev/vport1p1"}]`, "/dev/vport1p1"},
		{`"DeviceCgroupRules":["c 10:* rwm"]`, "device rules"},
		{`"PidMode":"host"`, "processes"},
		{`"IpcMode":"host"`, "shared memory"},
		{`"NetworkMode":"host","CapAdd":["NET_RAW"]`, "machine's own network"},
		{`"Runtime":"/data/docker/volumes/x/_data/shim"`, "runtime"},
		{`"Annotations":{"run.oci.handler":"x"}`, "annotation"},
		{`"Ulimits":[{"Name":"rtprio","Soft":99,"Hard":99}]`, "rtprio"},
		{`"VolumesFrom":["agent-1"]`, "volumes of another"},
		{`"PidMode":"container:agent"`, "joins another"},
		{`"NetworkMode":"container:agent"`, "joins another"},
		{`"SecurityOpt":["systempaths=unconfined"]`, "systempaths"},
		{`"MaskedPaths":[],"ReadonlyPaths":[]`, "hidden"},
		{`"Binds":["/dev:/dev"]`, "/dev of the machine"},
		{`"Binds":["/:/host:ro"]`, "/ of the machine"},
		{`"Binds":["/srv/../proc:/x"]`, "/proc of the machine"},
		{`"Binds":["/run/docker.sock:/var/run/docker.sock"]`, "/run/docker.sock"},
		{`"Binds":["/run/secretvm/api/web.sock:/x"]`, "/run/secretvm/api/web.sock"}, // of another service
		{`"Binds":["/run/secretvm/tls:/x"]`, "/run/secretvm/tls"},
		{`"Mounts":[{"Type":"bind","Source":"/sys","Target":"/x"}]`, "/sys of the machine"},
	} {
		p := testPolicy(t)
		for service, trusted := range map[string]bool{"other": false, "agent": true, "": false} {
			_, err := p.container(create(service, tt.host))
			if trusted && err != nil || !trusted && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("%s of service %q: %v, want an error with %q", tt.host, service, err, tt.wantErr)
			}
		}
	}
	for _, tt := range []struct{ host, wantErr string }{ // not even where it is trusted
		{`"CgroupParent":"/"`, "cgroup_parent"},
		{`"Mounts":[{"Type":"npipe","Source":"x","Target":"/x"}]`, "npipe"},
		{`"Mounts":[{"Type":"volume","Source":"x","Target":"/x","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"device":"/dev/vda"}}}}]`, "by a mount"},
		{`"Binds":5`, "read the container"},
		{`"binds":["data:/data"]`, "spelt"}, // dockerd would take the last of two spellings
	} {
		p := testPolicy(t)
		if _, err := p.container(create("agent", tt.host)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %v, want an error with %q", tt.host, err, tt.wantErr)
		}
	}
	p := testPolicy(t)
	p.Secrets = "/run/secretvm/secrets"
	for source, wantErr := range map[string]string{"": "/run/secretvm/secrets of the machine", "/lacking": "sealed no secret lacking", "/..": "/run/secretvm of the machine", "/token/x": "of the machine"} {
		_, err := p.container(create("web", fmt.Sprintf(`"Binds":["%s%s:/run/secrets/x:ro"]`, p.Secrets, source)))
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("secret %q: %v, want an error with %q", source, err, wantErr)
		}
	}
	if out, err := p.container([]byte(`{"HostConfig":{},"hostconfig":{"Privileged":true}}`)); err == nil {
		t.Errorf("two spellings: %s", out)
	}
	p.Privileged, p.Restricted = nil, true
	if _, err := p.container(create("web", `"NetworkMode":"container:db","VolumesFrom":["db"],"PidMode":"container:db"`)); err != nil {
		t.Errorf("containers that share, none of them trusted: %v", err)
	}
	if _, err := p.container(create("web", `"NetworkMode":"host"`)); err == nil || !strings.Contains(err.Error(), "egress") {
		t.Errorf("the machine's network under a list: %v", err)
	}
	if _, err := p.exec([]byte(`{"Cmd":["x"],"Privileged":true}`)); err == nil {
		t.Error("a privileged command is let through")
	}
}

// What containers commonly ask for, and what becomes of it.
func TestContainersAreRewritten(t *testing.T) {
	p := testPolicy(t)
	real := func(s string) string {
		return strings.NewReplacer("PROJECT", p.Project, "DISK", p.Disk, "SECRETS", p.Secrets).Replace(s)
	}
	for _, tt := range []struct{ host, want string }{
		{`"Mounts":[{"ReadOnly":true,"Source":"SECRETS/token","Target":"/run/secrets/token","Type":"bind"}]`, `{"Mounts":[{"ReadOnly":true,"Source":"SECRETS/token","Target":"/run/secrets/token","Type":"bind"}]}`},
		{``, `{}`},
		{`"CapAdd":["NET_ADMIN"],"Devices":[{"PathOnHost":"/dev/net/tun"}],"Memory":5`, `{"CapAdd":["NET_ADMIN"],"Devices":[{"PathOnHost":"/dev/net/tun"}],"Memory":5}`},
		{`"Binds":["data:/data","PROJECT/conf:/etc/conf:ro"]`, `{"Binds":["data:/data","PROJECT/conf:/etc/conf:ro"]}`},
		{`"Binds":["PROJECT/data/db:/var/lib/db:rw"]`, `{"Binds":["DISK/project/data/db:/var/lib/db:rw"]}`},
		{`"Binds":["/srv/app:/app","/etc/localtime:/etc/localtime:ro"]`, `{"Binds":["DISK/host/srv/app:/app","/etc/localtime:/etc/localtime:ro"]}`},
		{`"Binds":["/run/secretvm/api/web.sock:/run/secretvm.sock","/run/secretvm/tls:/run/secretvm/tls:ro"]`, `{"Binds":["/run/secretvm/api/web.sock:/run/secretvm.sock","/run/secretvm/tls:/run/secretvm/tls:ro"]}`},
		{`"Mounts":[{"Type":"bind","Source":"/root/.config/x","Target":"/x"},{"Type":"volume","Source":"v","Target":"/v"},{"Type":"tmpfs","Target":"/t"}]`, `{"Mounts":[{"Source":"DISK/host/root/.config/x","Target":"/x","Type":"bind"},{"Source":"v","Target":"/v","Type":"volume"},{"Target":"/t","Type":"tmpfs"}]}`},
		{`"LogConfig":{"Type":"json-file","Config":{}}`, `{"LogConfig":{"Config":{"max-file":"3","max-size":"10m"},"Type":"json-file"}}`},
		{`"LogConfig":{"Config":{"max-size":"1m"},"Type":"json-file"}`, `{"LogConfig":{"Config":{"max-size":"1m"},"Type":"json-file"}}`},
		{`"CapAdd":["SYS_NICE","NET_ADMIN"],"Annotations":{"a":"b"}`, `{"Annotations":{"a":"b"},"CapAdd":["NET_ADMIN"]}`},
		{`"OomScoreAdj":-1000`, `{"OomScoreAdj":0}`},
		{`"NetworkMode":"host","CapDrop":["ALL"]`, `{"CapDrop":["ALL","MKNOD","NET_RAW"],"NetworkMode":"host"}`},
	} {
		out, err := p.container([]byte(real(string(create("web", tt.host)))))
		var got struct {
			Image      string
			HostConfig json.RawMessage
		}
		want := real(tt.want)
		if !strings.Contains(want, "CapDrop") { // what all containers get
			var config map[string]any
			if err := json.Unmarshal([]byte(want), &config); err != nil {
				t.Fatal(err)
			}
			config["CapDrop"] = []string{"MKNOD"}
			b, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			want = string(b)
		}
		if err != nil || json.Unmarshal(out, &got) != nil || got.Image != "nginx" || string(got.HostConfig) != want {
			t.Errorf("%s: %s, %v, want %s", tt.host, got.HostConfig, err, want)
		}
	}
	for _, dir := range []string{"project/data/db", "host/srv/app", "host/root/.config/x"} {
		if info, err := os.Stat(filepath.Join(p.Disk, dir)); err != nil || !info.IsDir() {
			t.Errorf("%s was not made: %v", dir, err)
		}
	}
}

// W2: a link that a container leaves in its folder leads no other one out.
func TestW2_LinksAreNotFollowed(t *testing.T) {
	p := testPolicy(t)
	if _, err := p.container(create("web", `"Binds":["/srv/a:/a"]`)); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{filepath.Join(p.Disk, "host/srv/a/b"), filepath.Join(p.Project, "conf/b")} {
		if err := os.Symlink("/proc", link); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range []string{"/srv/a/b", "/srv/a/b/c", "/srv/a/b/sys", p.Project + "/conf/b", p.Project + "/conf/b/1"} {
		if out, err := p.container(create("db", `"Binds":["`+source+`:/x"]`)); err == nil {
			t.Errorf("%s: %s", source, out)
		}
	}
}

func TestVolumesAndNetworks(t *testing.T) {
	p := testPolicy(t)
	for _, tt := range []struct{ body, want, wantErr string }{
		{`{"Name":"data"}`, `{"Name":"data"}`, ""},
		{`{"Name":"data","Driver":"local","DriverOpts":{"type":"tmpfs","device":"tmpfs","o":"size=1m"}}`, `{"Name":"data","Driver":"local","DriverOpts":{"type":"tmpfs","device":"tmpfs","o":"size=1m"}}`, ""},
		{`{"Name":"data","DriverOpts":{"type":"none","device":"/mnt/x","o":"bind"}}`, `{"DriverOpts":{"device":"` + p.Disk + `/host/mnt/x","o":"bind","type":"none"},"Name":"data"}`, ""},
		{`{"Name":"data","DriverOpts":{"type":"none","device":"/dev","o":"ro,bind"}}`, "", "/dev of the machine"},
		{`{"Name":"data","DriverOpts":{"type":"ext4","device":"/dev/mapper/data"}}`, "", "device"},
		{`{"Name":"data","DriverOpts":{"type":"proc","device":"proc"}}`, "", "device"},
		{`{"Name":"data","Driver":"rexray"}`, "", "there is only local"},
		{`[]`, "", "read the volume"},
	} {
		out, err := p.volume([]byte(tt.body))
		if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) || tt.wantErr == "" && (err != nil || string(out) != tt.want) {
			t.Errorf("%s: %s, %v, want %s%s", tt.body, out, err, tt.want, tt.wantErr)
		}
	}
	for driver, ok := range map[string]bool{"": true, "bridge": true, "macvlan": false, "ipvlan": false, "overlay": false} {
		if _, err := p.network(fmt.Appendf(nil, `{"Name":"n","Driver":%q}`, driver)); (err == nil) != ok {
			t.Errorf("network driver %q: %v", driver, err)
		}
	}
}

// The gate in front of an engine: what passes, what does not, and streams.
func TestGate(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) net.Listener {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	more := make(chan struct{})
	engine := &httptest.Server{Listener: listen("engine.sock"), Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s\n", r.Method, r.URL.RequestURI(), body)
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.(http.Flusher).Flush()
			<-more
		}
	})}}
	engine.Start()
	defer engine.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	front := listen("gate.sock")
	go func() { done <- New(filepath.Join(dir, "engine.sock"), testPolicy(t)).Serve(ctx, front) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "gate.sock"))
	}}}
	for _, tt := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/_ping", "", 200, "GET /_ping \n"},
		{"GET", "/v1.45/containers/json?all=1", "", 200, "GET /v1.45/containers/json?all=1 \n"},
		{"DELETE", "/v1.45/containers/x", "", 200, "DELETE"},
		{"POST", "/v1.45/containers/x/start", "", 200, "POST"},
		{"POST", "/v1.45/images/create?fromImage=nginx", "", 200, "fromImage=nginx"},
		{"POST", "/v1.45/containers/create?name=x", `{"Image":"nginx"}`, 200, `{"HostConfig":{"CapDrop":["MKNOD"]},"Image":"nginx"}`},
		{"POST", "/containers/create", `{"HostConfig":{"Privileged":true}}`, 403, `it is privileged`},
		{"POST", "/v1.45/containers/create", strings.Repeat(" ", maxBody+1), 403, "too large"},
		{"POST", "/v1.45/containers/x/update", `{}`, 403, "is not for workloads"},
		{"POST", "/v1.45/build", "", 403, "is not for workloads"},
		{"POST", "/v1.45/swarm/init", "", 403, "is not for workloads"},
		{"POST", "/v1.45/plugins/pull", "", 403, "is not for workloads"},
		{"POST", "/v1.45/containers/create/../create", `{"HostConfig":{"Privileged":true}}`, 403, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://docker"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.code || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, resp.StatusCode, body, tt.code, tt.want)
		}
	}
	resp, err := client.Get("http://docker/v1.45/events")
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, line); err != nil || string(line) != "GET /v1.4" {
		t.Errorf("an event that is not the last: %q, %v", line, err)
	}
	close(more)
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func FuzzContainer(f *testing.F) {
	f.Add(create("web", `"Binds":["/srv/a:/a"],"CapAdd":["NET_ADMIN"]`))
	f.Add([]byte(`{"HostConfig":null,"Labels":null}`))
	p := Policy{Project: f.TempDir(), Disk: f.TempDir()}
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "/") {
			return // folders that would be made
		}
		out, err := p.container(b)
		if err != nil {
			return
		}
		var seen struct{ HostConfig struct{ Privileged bool } }
		if json.Unmarshal(out, &seen) != nil || seen.HostConfig.Privileged {
			t.Errorf("%s passes as %s", b, out)
		}
	})
}
