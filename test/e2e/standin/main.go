// Command standin stands in for the programs of public container images, where
// those cannot be had: it answers HTTP on the ports that they listen on, says it
// is healthy to whatever asks, and tells what a container can reach and see.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ports are those of the programs that it stands in for.
var ports = []int{80, 81, 443, 2283, 3000, 3003, 3306, 5000, 5432, 5678, 6333, 6379, 8000, 8080, 9000, 9001, 9443}

// healthPort is where a health check asks, whatever command it is.
const healthPort = 3003

func main() {
	switch {
	case filepath.Base(os.Args[0]) == "standin": // the image's own entry point
	case os.Getpid() == 1: // another program's command line: a job, which ends
		return
	default: // or a health check
		os.Exit(check())
	}
	note()
	if code, err := strconv.Atoi(os.Getenv("EXIT")); err == nil { // a job that ends
		fmt.Println("the job ends with status", code)
		os.Exit(code)
	}
	if wait, err := time.ParseDuration(os.Getenv("BUSY")); err == nil {
		time.Sleep(wait)
	}
	failed := make(chan error)
	for _, port := range ports {
		go func() { failed <- http.ListenAndServe(":"+strconv.Itoa(port), handler()) }()
	}
	for range ports { // one that cannot be had is somebody else's
		fmt.Println(<-failed)
	}
	os.Exit(1)
}

// check asks the program of this container whether it is well.
func check() int {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://127.0.0.1:" + strconv.Itoa(healthPort) + "/healthz")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

// note writes down when this container started, where containers share a folder
// for that.
func note() {
	if name := os.Getenv("NAME"); name != "" {
		_ = os.WriteFile("/order/"+name, []byte(strconv.FormatInt(time.Now().UnixNano(), 10)), 0o600)
	}
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "a stand-in") })
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/reach", func(w http.ResponseWriter, r *http.Request) { answer(w, reach(r.FormValue("address"))) })
	mux.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) { answer(w, lookup(r, r.FormValue("name"))) })
	mux.HandleFunc("/devices", func(w http.ResponseWriter, _ *http.Request) { answer(w, devices()) })
	mux.HandleFunc("/mounts", func(w http.ResponseWriter, _ *http.Request) {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			b = []byte(err.Error())
		}
		_, _ = w.Write(b)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { answer(w, file(r.FormValue("path"))) })
	mux.HandleFunc("/variable", func(w http.ResponseWriter, r *http.Request) { answer(w, os.Getenv(r.FormValue("name"))) })
	mux.HandleFunc("/order", func(w http.ResponseWriter, _ *http.Request) { answer(w, order()) })
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) { answer(w, count(r.FormValue("folder"))) })
	mux.HandleFunc("/process", func(w http.ResponseWriter, _ *http.Request) { answer(w, process()) })
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) { answer(w, end(r.FormValue("part"))) })
	mux.HandleFunc("/eat", func(w http.ResponseWriter, _ *http.Request) { eat(w) })
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// reach says what comes of a connection: the first line that is said over it.
func reach(address string) (result struct{ Said, Error string }) {
	c, err := net.DialTimeout("tcp", address, 4*time.Second)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(4 * time.Second))
		b := make([]byte, 64)
		var n int
		n, err = c.Read(b)
		result.Said = string(b[:n])
	}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

func lookup(r *http.Request, name string) (result struct {
	Addresses []string
	NotFound  bool
	Error     string
},
) {
	var err error
	result.Addresses, err = net.DefaultResolver.LookupHost(r.Context(), name)
	var missing *net.DNSError
	if errors.As(err, &missing) {
		result.NotFound = missing.IsNotFound
	}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

func order() map[string]int64 {
	at := map[string]int64{}
	entries, _ := os.ReadDir("/order")
	for _, e := range entries {
		if b, err := os.ReadFile("/order/" + e.Name()); err == nil {
			at[e.Name()], _ = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		}
	}
	return at
}

// count says how often it was asked, in the life of a folder.
func count(folder string) int {
	name := filepath.Join(folder, "count")
	b, _ := os.ReadFile(name)
	n, _ := strconv.Atoi(string(b))
	n++
	if err := os.WriteFile(name, []byte(strconv.Itoa(n)), 0o600); err != nil {
		return -1
	}
	return n
}

// file tells a file as the container sees it.
func file(path string) (result struct {
	Mode, Content, Error string
	Owner                uint32
},
) {
	b, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err := errors.Join(err, statErr); err != nil {
		result.Error = err.Error()
		return result
	}
	result.Mode, result.Content = info.Mode().String(), string(b)
	if stat, is := info.Sys().(*syscall.Stat_t); is {
		result.Owner = stat.Uid
	}
	return result
}

// eat takes all memory there is, until somebody ends it.
func eat(w http.ResponseWriter) {
	fmt.Fprintln(w, "it was good")
	w.(http.Flusher).Flush()
	var eaten [][]byte
	for {
		b := make([]byte, 16<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		eaten = append(eaten, b)
		fmt.Println("eaten:", len(eaten)*16, "MiB")
	}
}
