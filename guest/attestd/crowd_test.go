package attestd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/vm"
)

// deviceTime is how long the benchmarks' device takes for a quote, and does
// nothing the while, as a processor that another enclave keeps busy.
const deviceTime = 5 * time.Millisecond

type slowQuoter struct{}

func (slowQuoter) Quote(_ context.Context, rd [64]byte) (vm.Evidence, error) {
	time.Sleep(deviceTime)
	return vm.Evidence{TEE: vm.Soft, Quote: append(rd[:], make([]byte, 5000)...)}, nil
}

// crowdVariable makes the test's program serve, in a process of its own, whose
// processor time can be told from the clients'.
const crowdVariable = "SECRETVM_CROWD"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == attestation.Part { // started by startService
		if err := Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(crowdVariable) == "" {
		os.Exit(m.Run())
	}
	t := &served{}
	opt := quoting(testOptions(t, "metrics"), slowQuoter{})
	s, err := New(opt)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("https://" + l.Addr().String())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	_ = s.Serve(context.Background(), l)
}

// served is a testing.TB for the process that serves.
type served struct{ testing.T }

func (*served) Helper()           {}
func (*served) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// startCrowdServer returns the URL of a service in another process.
func startCrowdServer(b *testing.B) (url string, pid int) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

// timeOf reads user and system time of a process: fields 14 and 15 of
// /proc/pid/stat, in ticks of 10 ms.
func timeOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memoryOf is the memory of a process, in MiB: the second field of
// /proc/pid/statm, in pages.
func memoryOf(b *testing.B, pid int) float64 {
	b.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident*int64(os.Getpagesize())) / (1 << 20)
}

func crowdClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxConnsPerHost: 1},
		Timeout:   60 * time.Second,
	}
}

// timedQuoter times the device.
type timedQuoter struct {
	mu    sync.Mutex
	times []time.Duration
}

func (q *timedQuoter) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	start := time.Now()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.times = append(q.times, time.Since(start))
	}()
	return slowQuoter{}.Quote(ctx, rd)
}

// BenchmarkAttestation: one client after another, with the service in its process
// and the device in this one, as guestd has it. What both processes add to the
// device's time is to stay below 2 ms (p50).
func BenchmarkAttestation(b *testing.B) {
	device := &timedQuoter{}
	url, _ := startService(b, quoting(testOptions(b), device))
	c := crowdClient()
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		resp, err := c.Get(url + "/attestation?nonce=" + strings.Repeat("ab", 32))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	slices.Sort(device.times)
	half := device.times[len(device.times)/2]
	b.ReportMetric(milliseconds(half), "ms-device-p50")
	b.ReportMetric(milliseconds(times[len(times)/2]-half), "ms-added-p50")
	b.ReportMetric(milliseconds(times[len(times)*99/100]-half), "ms-added-p99")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkCrowd: 1,000 clients at once, each with a connection of its own, ask
// as fast as they are answered. It states how much of one processor the service
// takes; the rest is the workload's.
func BenchmarkCrowd(b *testing.B) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 1200 {
		b.Skipf("1,000 connections need more open files than %d", limit.Cur)
	}
	for _, path := range []string{"/attestation?nonce=" + strings.Repeat("ab", 32), "/config"} {
		name, _, _ := strings.Cut(path[1:], "?")
		b.Run(name, func(b *testing.B) { crowd(b, path) })
	}
}

func crowd(b *testing.B, path string) {
	const length = 20 * time.Second
	url, pid := startCrowdServer(b)
	before, start := timeOf(b, pid), time.Now()
	c := gather(b, url+path, length)
	share := float64(timeOf(b, pid)-before) / float64(time.Since(start))
	memory := memoryOf(b, pid)
	c.report(b, length)
	b.ReportMetric(100*share, "%-of-one-CPU")
	b.ReportMetric(memory, "MiB")
}

// BenchmarkMachine lets the crowd loose on a running machine: its attestation
// service at SECRETVM_CROWD_URL, its workload at SECRETVM_CROWD_WORKLOAD. It
// states how long the workload takes to answer without and with the crowd.
func BenchmarkMachine(b *testing.B) {
	url, workload := os.Getenv("SECRETVM_CROWD_URL"), os.Getenv("SECRETVM_CROWD_WORKLOAD")
	if url == "" || workload == "" {
		b.Skip("no machine is named in SECRETVM_CROWD_URL and SECRETVM_CROWD_WORKLOAD")
	}
	const length = 30 * time.Second
	probe := func(until time.Duration) float64 {
		var times []time.Duration
		client := &http.Client{Timeout: time.Minute}
		for start := time.Now(); time.Since(start) < until; time.Sleep(50 * time.Millisecond) {
			asked := time.Now()
			resp, err := client.Get(workload)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			times = append(times, time.Since(asked))
		}
		slices.Sort(times)
		return milliseconds(times[len(times)/2])
	}
	b.ReportMetric(probe(length/3), "ms-workload-alone")
	crowded := make(chan *gathered)
	go func() { crowded <- gather(b, url+"/attestation?nonce="+strings.Repeat("ab", 32), length) }()
	time.Sleep(length / 3)
	b.ReportMetric(probe(length/2), "ms-workload-crowded")
	(<-crowded).report(b, length)
}

// gathered is what became of a crowd's requests.
type gathered struct{ good, busy, broken atomic.Int64 }

func (g *gathered) report(b *testing.B, length time.Duration) {
	b.ReportMetric(float64(g.good.Load())/length.Seconds(), "answers/s")
	b.ReportMetric(float64(g.busy.Load())/length.Seconds(), "busy/s")
	b.ReportMetric(float64(g.broken.Load()), "broken")
}

// gather lets 1,000 clients ask for url, again and again, for some time.
func gather(b *testing.B, url string, length time.Duration) *gathered {
	b.Helper()
	const clients = 1000
	g := new(gathered)
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	for range clients {
		all.Go(func() {
			c := crowdClient()
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
				if err != nil {
					b.Error(err)
					return
				}
				resp, err := c.Do(req)
				switch {
				case err != nil && ctx.Err() == nil:
					g.broken.Add(1)
				case err != nil:
				default:
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == http.StatusOK {
						g.good.Add(1)
					} else {
						g.busy.Add(1)
					}
				}
			}
		})
	}
	all.Wait()
	return g
}
