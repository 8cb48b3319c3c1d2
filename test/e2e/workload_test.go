//go:build e2e

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The destination that workload/docker-compose.yaml names, on this computer's
// loopback, and one that it does not.
const (
	listed   = "10.0.2.2:18931"
	unlisted = "10.0.2.2:18932"
)

// W2, in a machine with everything that public compose files are made of, in one
// boot: order, health, jobs, folders, images by tag that are pinned beside the
// file; and what its containers must not get.
func TestW2_WorkloadOfManyServices(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	greet(t, listed)
	greet(t, unlisted)
	l := &lab{repository: repository, state: filepath.Join(t.TempDir(), "state"), workload: "test/e2e/workload"}
	if *kernel != "generic" {
		l.build(t, filepath.Join(t.TempDir(), "image"))
	}
	// Eight containers, one after the other. What the owner has to give is sealed.
	l.upArgs = append(l.upArgs, "--timeout", bootTimeout.String(), "--env-file", filepath.Join(repository, l.workload, "owner.env"))
	s := l.up(t)

	// A job that fails is told with its status, and takes nothing down.
	if !strings.Contains(s.result.Failure, "job failed: Exited (3)") {
		t.Errorf("up says of the failed job: %q", s.result.Failure)
	}
	containers := s.containers(t)
	for service, want := range map[string]string{"migrate": "exited 0", "db": "running healthy", "web": "running", "job": "exited 3", "never": ""} {
		if got := containers[service]; got != want {
			t.Errorf("service %s is %q, want %q", service, got, want)
		}
	}

	// Services start when what they depend on has ended, or is healthy.
	var at map[string]int64
	s.ask(t, "web", "/order", &at)
	if !(0 < at["migrate"] && at["migrate"] < at["db"] && time.Duration(at["web"]-at["db"]) >= 2*time.Second) {
		t.Errorf("started at %v, want migrate before db, and web once that is healthy", at)
	}

	// A folder of the host is one of the encrypted disk, where the volumes are.
	mounts := s.text(t, "web", "/mounts")
	data, srv := device(mounts, "/data"), device(mounts, "/srv")
	if data == "" || data != srv || !strings.Contains(mounts, "/folders/host/srv/town /srv ") || !strings.Contains(mounts, " /etc/localtime ") {
		t.Errorf("a volume lies on %q, a folder of the host on %q:\n%s", data, srv, mounts)
	}

	// What else the file asks for: a first process that reaps, a limit, a name.
	var process struct {
		PID   int
		First string
		Files uint64
	}
	if s.ask(t, "web", "/process", &process); process.PID == 1 || process.First != "docker-init" || process.Files != 2048 {
		t.Errorf("web is %+v, want docker-init before it, and 2048 files", process)
	}
	if s.ask(t, "lonely", "/process", &process); process.PID != 1 || process.Files != 524288 {
		t.Errorf("lonely is %+v, want it to be the first, and as many files as elsewhere", process)
	}
	var name struct{ Addresses []string }
	if s.ask(t, "web", "/lookup?name=elsewhere.example", &name); fmt.Sprint(name.Addresses) != "[192.0.2.1]" {
		t.Errorf("a name of extra_hosts stands for %v", name.Addresses)
	}

	t.Run("secrets", func(t *testing.T) { s.secrets(t) })
	t.Run("W2 destinations", func(t *testing.T) { s.destinations(t) })
	t.Run("W2 devices", func(t *testing.T) { s.devices(t) })
	kept := s.kept(t)
	t.Run("W2 memory", func(t *testing.T) { s.eaten(t) })
	t.Run("what runs the workload ends", func(t *testing.T) { s.dies(t) })
	t.Run("W2 destinations after that", func(t *testing.T) { s.destinations(t) })
	if *crowd {
		t.Run("crowd", func(t *testing.T) { s.crowded(t) })
	}
	s.down(t)
	if !*long {
		return
	}

	// Volumes and folders of the host outlive the boot, and what is sealed stays.
	l.upArgs = l.upArgs[:len(l.upArgs)-2]
	s = l.up(t)
	t.Run("secrets of the second boot", func(t *testing.T) { s.secrets(t) })
	if again := s.kept(t); kept != [2]int{1, 1} || again != [2]int{3, 3} {
		t.Errorf("a volume and a folder say %v, then %v", kept, again)
	}
	s.down(t)
}

// kept says how often a volume and a folder of the host were asked in their lives.
func (s *session) kept(t *testing.T) (counts [2]int) {
	t.Helper()
	for i, folder := range []string{"/data", "/srv"} {
		s.ask(t, "web", "/count?folder="+folder, &counts[i])
	}
	return counts
}

// secrets: what the owner sealed are files in memory and variables, for the services
// that the measured file gives them to; what lies beside the file is there too.
func (s *session) secrets(t *testing.T) {
	t.Helper()
	for _, tt := range []struct{ service, path, mode, content string }{
		{"web", "/run/secrets/password", "-r--r--r--", "of the town"},
		{"web", "/run/secrets/api-token", "-r--------", "of the owner"},
		{"web", "/etc/town.ini", "-rw-r--r--", "name = town\n"},
		{"web", "/etc/town/town.ini", "-rw-r--r--", "name = town\n"},
		{"lonely", "/run/secrets/password", "", ""},
	} {
		var got struct{ Mode, Content, Error string }
		s.ask(t, tt.service, "/file?path="+tt.path, &got)
		if got.Mode != tt.mode || got.Content != tt.content || (tt.mode == "") != (got.Error != "") {
			t.Errorf("%s in %s is %+v, want %s %q", tt.path, tt.service, got, tt.mode, tt.content)
		}
	}
	mounts := s.text(t, "web", "/mounts")
	if secret, disk := device(mounts, "/run/secrets/password"), device(mounts, "/data"); secret == "" || secret == disk ||
		!strings.Contains(mounts, " - tmpfs ") || !strings.Contains(mounts, " /run/secrets/api-token ro") {
		t.Errorf("the secret lies on %q, the disk is %q:\n%s", secret, disk, mounts)
	}
	for name, want := range map[string]string{"GREETING": `it is "sealed" for $5`, "NOISE": ""} {
		var got string
		if s.ask(t, "web", "/variable?name="+name, &got); got != want {
			t.Errorf("the container has %s=%q, want %q", name, got, want)
		}
	}
}

// W2: a container that takes all memory is ended, and starts again as its restart
// policy says. Nothing else suffers: meanwhile the machine attests.
func (s *session) eaten(t *testing.T) {
	t.Helper()
	started := func() int64 {
		var at map[string]int64
		s.ask(t, "web", "/order", &at)
		return at["glutton"]
	}
	first := started()
	meal := s.url(t, "glutton", "/eat")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.Get(meal); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	began, slowest := time.Now(), time.Duration(0)
	answers := 0
	for eating := true; eating; {
		asked := time.Now()
		if body := s.attestation(t, "/attestation?nonce="+strings.Repeat("5a", 32)); !strings.Contains(body, "evidence") {
			t.Fatalf("/attestation: %.200s", body)
		}
		answers++
		slowest = max(slowest, time.Since(asked))
		select {
		case <-ended:
			eating = false
		case <-time.After(200 * time.Millisecond):
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("the glutton lives after %d attestations: %v", answers, s.containers(t))
		}
	}
	t.Logf("ended after %s; %d of %[2]d attestations answered meanwhile, the slowest in %s", seconds(time.Since(began)), answers, seconds(slowest))
	if answers < 3 {
		t.Error("the test has lost its object")
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		c := s.containers(t)
		if started() != first && c["glutton"] == "running" && c["web"] == "running" && c["db"] == "running healthy" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("others suffered, or it was not started again: %v", c)
		}
	}
}

// dies: the process that runs the workload dies. The machine attests all the while,
// says that the workload is not well, and brings it up again; volumes are as they were.
func (s *session) dies(t *testing.T) {
	t.Helper()
	var before, after map[string]int64
	s.ask(t, "web", "/order", &before)
	var ended int
	if s.ask(t, "ward", "/end?part=workload", &ended); ended != 1 {
		t.Fatalf("%d processes run the workload", ended)
	}
	began, answers, degraded := time.Now(), 0, false
	for {
		if body := s.attestation(t, "/attestation?nonce="+strings.Repeat("5a", 32)); !strings.Contains(body, "evidence") {
			t.Fatalf("/attestation: %.200s", body)
		}
		answers++
		status := s.attestation(t, "/status")
		degraded = degraded || strings.Contains(status, `"workload":"degraded"`)
		if degraded && strings.Contains(status, `"containers"`) {
			if c := s.containers(t); c["web"] == "running" && c["db"] == "running healthy" && c["job"] == "exited 3" && c["ward"] == "running" {
				break
			}
		}
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("it is not up again: %s", status)
		}
		time.Sleep(time.Second)
	}
	t.Logf("up again after %s; %d of %[2]d attestations answered meanwhile", seconds(time.Since(began)), answers)
	for range 60 { // it runs, but may not listen yet
		if resp, err := http.Get(s.url(t, "web", "/healthz")); err == nil {
			resp.Body.Close()
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if s.ask(t, "web", "/order", &after); after["web"] <= before["web"] {
		t.Errorf("web started at %d, then at %d: the test has lost its object", before["web"], after["web"])
	}
	if now := s.kept(t); now != [2]int{2, 2} {
		t.Errorf("a volume and a folder said 1, then %v", now)
	}
}

// W2: what is listed is reached, and nothing else; clouds' metadata never.
func (s *session) destinations(t *testing.T) {
	t.Helper()
	for _, service := range []string{"web", "lonely"} {
		for address, reached := range map[string]bool{listed: true, unlisted: false, "169.254.169.254:80": false, "100.100.100.200:80": false, "10.0.2.3:53": false} {
			var got struct{ Said, Error string }
			s.ask(t, service, "/reach?address="+url.QueryEscape(address), &got)
			if reached != (got.Said != "") {
				t.Errorf("%s to %s: %+v, want it reached: %v", service, address, got, reached)
			}
		}
		var name struct {
			Addresses []string
			NotFound  bool
			Error     string
		}
		s.ask(t, service, "/lookup?name=secret.evil.example", &name)
		if !name.NotFound || len(name.Addresses) > 0 {
			t.Errorf("%s asks for another name: %+v", service, name)
		}
	}
	var name struct{ Addresses []string }
	if s.ask(t, "web", "/lookup?name=db", &name); len(name.Addresses) == 0 {
		t.Error("services do not find each other by name")
	}
	if s.ask(t, "lonely", "/lookup?name=db", &name); len(name.Addresses) > 0 {
		t.Errorf("a service of another network is found at %s", name.Addresses)
	}
}

// W2: not even root in a container opens a device of the machine, its TEE among
// them, by its number.
func (s *session) devices(t *testing.T) {
	t.Helper()
	var got struct{ Tried, Opened []string }
	s.ask(t, "web", "/devices", &got)
	if len(got.Opened) > 0 {
		t.Errorf("a container opened %q", got.Opened)
	}
	if !slices.ContainsFunc(got.Tried, func(s string) bool { return strings.HasPrefix(s, "vport") }) {
		t.Errorf("tried %q: the test has lost its object", got.Tried)
	}
}

// containers asks the machine for what became of the services.
func (s *session) containers(t *testing.T) map[string]string {
	t.Helper()
	var status struct {
		Containers []struct {
			Service, State, Health string
			ExitCode               *int `json:"exit_code"`
		}
	}
	body := s.attestation(t, "/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil || len(status.Containers) == 0 {
		t.Fatalf("/status: %v: %s", err, body)
	}
	all := map[string]string{}
	for _, c := range status.Containers {
		text := strings.TrimSpace(c.State + " " + c.Health)
		if c.ExitCode != nil {
			text += fmt.Sprint(" ", *c.ExitCode)
		}
		all[c.Service] = text
	}
	return all
}

func (s *session) attestation(t *testing.T, path string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	return get(t, &http.Client{Transport: transport, Timeout: 30 * time.Second}, s.result.Attestation+path)
}

// text asks a service over the port that it publishes; ask decodes the answer.
func (s *session) text(t *testing.T, service, path string) string {
	t.Helper()
	return get(t, &http.Client{Timeout: time.Minute}, s.url(t, service, path))
}

func (s *session) url(t *testing.T, service, path string) string {
	t.Helper()
	for _, a := range s.result.Addresses {
		if a.Service == service {
			return fmt.Sprintf("http://127.0.0.1:%d%s", a.Host, path)
		}
	}
	t.Fatalf("service %s has no address in %+v", service, s.result.Addresses)
	return ""
}

func (s *session) ask(t *testing.T, service, path string, into any) {
	t.Helper()
	body := s.text(t, service, path)
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%s of %s: %v: %s", path, service, err, body)
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v: %s", url, resp.StatusCode, err, body)
	}
	return string(body)
}

// greet answers on this computer's loopback, which machines see at 10.0.2.2.
func greet(t *testing.T, address string) {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
}

// device is the number of the device that is mounted at a path, of the text of
// /proc/self/mountinfo (proc_pid_mountinfo(5)).
func device(mountinfo, at string) string {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == at {
			return f[2]
		}
	}
	return ""
}
