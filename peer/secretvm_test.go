package peer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func registry(t testing.TB) *peer.Registry {
	t.Helper()
	r, err := peer.ParseRegistry(vectors.Read(t, "secretvm-verify/artifacts_registry/tdx.csv"), vectors.Read(t, "secretvm-verify/artifacts_registry/sev.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func measurement(t testing.TB, name string) vm.Measurement {
	t.Helper()
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, name))))
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return q.Body.Measurement()
}

func names(matches []peer.Match) (out []string) {
	for _, m := range matches {
		out = append(out, m.Image.String()+" by "+string(m.Scheme))
	}
	return out
}

// The reference system's own machine: which image, and that every byte of the
// compose file counts.
func TestRecogniseTDX(t *testing.T) {
	r, data := registry(t), "secretvm-verify/test-data/"
	m := measurement(t, data+"tdx_cpu_docker_check_quote.txt")
	compose := vectors.Read(t, data+"tdx_cpu_docker_check_compose.yaml")
	var known []string
	for _, image := range r.Known(m) {
		known = append(known, image.String())
	}
	slices.Sort(known)
	if want := []string{"small dev v0.0.25", "small dev v0.0.25-beta.2", "small prod v0.0.25", "small prod v0.0.25-beta.2"}; !slices.Equal(known, want) {
		t.Errorf("known as %q, want %q", known, want)
	}
	files := vm.HashOf([]byte("files"))
	for _, tt := range []struct {
		name string
		w    peer.Workload
		want []string
	}{
		{"its compose file", peer.Workload{Compose: vm.HashOf(compose)}, []string{"small prod v0.0.25 by digests"}},
		{"an app id beside it", peer.Workload{Compose: vm.HashOf(compose), AppID: []byte{1}}, []string{"small prod v0.0.25 by digests"}},
		{"one byte more", peer.Workload{Compose: vm.HashOf(append(bytes.Clone(compose), '\n'))}, nil},
		{"files that it has not", peer.Workload{Compose: vm.HashOf(compose), Files: &files}, nil},
		{"nothing", peer.Workload{}, nil},
	} {
		if got := names(r.MatchTDX(m, tt.w)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	m.MRTD[0] ^= 1
	if got := r.MatchTDX(m, peer.Workload{Compose: vm.HashOf(compose)}); len(got) != 0 {
		t.Errorf("another firmware: %q, want no match", names(got))
	}
}

func TestRecogniseLargeMachine(t *testing.T) {
	images := registry(t).Known(measurement(t, "secretvm-verify/test-data/cpu_quote.txt"))
	var got []string
	for _, image := range images {
		got = append(got, image.String())
	}
	if !slices.Contains(got, "4xlarge_256GB_gpu prod v0.0.21") {
		t.Errorf("known as %q, want 4xlarge_256GB_gpu prod v0.0.21 among them", got)
	}
}

// RTMR3 as the reference system computes it, in both schemes.
func TestRuntimeRegisterVectors(t *testing.T) {
	var file struct {
		RTMR3 []struct {
			Scheme  string
			UTF8    *string     `json:"compose_utf8"`
			Compose *vm.Hash    `json:"compose_sha256"`
			Rootfs  vm.Hash     `json:"rootfs_sha256"`
			AppID   string      `json:"app_id"`
			RTMR3   vm.Register `json:"rtmr3"`
		} `json:"rtmr3"`
	}
	if err := json.Unmarshal(vectors.Read(t, "vectors.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.RTMR3) < 3 {
		t.Fatalf("%d vectors, want 3", len(file.RTMR3))
	}
	for i, v := range file.RTMR3 {
		r := &peer.Registry{TDX: []peer.TDXImage{{Image: peer.Image{Kind: "prod", Version: "v1"}, Rootfs: v.Rootfs}}}
		w := peer.Workload{}
		if v.UTF8 != nil {
			w.Compose = vm.HashOf([]byte(*v.UTF8))
		} else {
			w.Compose = *v.Compose
		}
		w.AppID, _ = hex.DecodeString(v.AppID)
		m := vm.Measurement{RTMR: [4]vm.Register{3: v.RTMR3}}
		want := map[string]peer.Scheme{"attest-tool": peer.Digests, "dstack": peer.Events}[v.Scheme]
		if got := r.MatchTDX(m, w); len(got) != 1 || got[0].Scheme != want {
			t.Errorf("vector %d (%s): %q", i, v.Scheme, names(got))
		}
		w.Compose[0] ^= 1
		if got := r.MatchTDX(m, w); len(got) != 0 {
			t.Errorf("vector %d: another compose file matches", i)
		}
		w.Compose[0] ^= 1
		w.AppID = []byte("other")
		if got := r.MatchTDX(m, w); v.Scheme == "dstack" && len(got) != 0 {
			t.Errorf("vector %d: another app id matches", i)
		}
	}
}

// Files come last, and only the order tells bare digests apart.
func TestRuntimeRegisterWithFiles(t *testing.T) {
	pad := func(h vm.Hash) (r vm.Register) { copy(r[:], h[:]); return r }
	compose, rootfs, files := vm.HashOf([]byte("c")), vm.HashOf([]byte("r")), vm.HashOf([]byte("f"))
	r := &peer.Registry{TDX: []peer.TDXImage{{Rootfs: rootfs}}}
	m := vm.Measurement{}
	m.RTMR[3] = m.RTMR[3].Extend(pad(compose)).Extend(pad(rootfs)).Extend(pad(files))
	if got := r.MatchTDX(m, peer.Workload{Compose: compose, Files: &files}); len(got) != 1 || got[0].Rootfs() != rootfs {
		t.Errorf("with files: %q", names(got))
	}
	if got := r.MatchTDX(m, peer.Workload{Compose: compose}); len(got) != 0 {
		t.Errorf("without files: %q", names(got))
	}
	// A gramine machine measures an empty app id.
	m.RTMR[3] = vm.Register{}
	for _, e := range []vm.Event{
		vm.RuntimeEvent("app-id", nil), vm.RuntimeEvent("compose-hash", compose[:]), vm.RuntimeEvent("os-image-hash", rootfs[:]), vm.RuntimeEvent("docker-files-hash", files[:]),
	} {
		m.RTMR[3] = m.RTMR[3].Extend(e.Digest)
	}
	if got := r.MatchTDX(m, peer.Workload{Compose: compose, Files: &files}); len(got) != 1 || got[0].Scheme != peer.Events {
		t.Errorf("empty app id: %q", names(got))
	}
}

func TestRecogniseSNP(t *testing.T) {
	r, data := registry(t), "secretvm-verify/test-data/"
	launched := func(name string) vm.Register {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(vectors.Read(t, data+name))))
		if err != nil {
			t.Fatal(err)
		}
		return vm.Register(raw[0x90 : 0x90+48]) // MEASUREMENT
	}
	compose := vectors.Read(t, data+"amd_cpu_docker_check_compose.yaml")
	digest := launched("amd_cpu_docker_check_quote.txt")
	got := r.MatchSNP(digest, peer.Workload{Compose: vm.HashOf(compose)})
	if want := []string{"small prod v0.0.25 by command line"}; !slices.Equal(names(got), want) || got[0].CPUs != 1 {
		t.Errorf("%q, want %q", names(got), want)
	}
	for name, got := range map[string][]peer.Match{
		"one byte more":   r.MatchSNP(digest, peer.Workload{Compose: vm.HashOf(append(bytes.Clone(compose), ' '))}),
		"another machine": r.MatchSNP(launched("amd_cpu_quote.txt"), peer.Workload{Compose: vm.HashOf(compose)}),
		"files":           r.MatchSNP(digest, peer.Workload{Compose: vm.HashOf(compose), Files: &vm.Hash{}}),
	} {
		if len(got) != 0 {
			t.Errorf("%s: %q, want no match", name, names(got))
		}
	}
}

func TestServedComposeFiles(t *testing.T) {
	const file = "services:\n  a: \"<b>\" # &amp;\n"
	page := "<!DOCTYPE html><html><body><PRE class=\"x\">services:\n  a: &#34;&lt;b&gt;&#34; # &amp;amp;\n\u200b</PRE></body></html>"
	for name, served := range map[string]string{"raw": file, "page": page} {
		found := false
		for _, c := range (peer.Served{Compose: []byte(served)}).ComposeFiles() {
			found = found || string(c) == file
		}
		if !found {
			t.Errorf("%s: the file is not among the candidates", name)
		}
	}
	for _, odd := range []string{"", "<pre>", "</pre><pre>", "<pre", "<pre></pre>", "\xff<pre>\xff</pre>"} {
		if n := len(peer.Served{Compose: []byte(odd)}.ComposeFiles()); n > 4 {
			t.Errorf("%q: %d candidates", odd, n)
		}
	}
	for info, want := range map[string]string{
		`{"dstack_app_id":"0xABcd"}`: "abcd", `{"dstack_app_id":""}`: "", `{}`: "", `x`: "", `{"dstack_app_id":"zz"}`: "", `{"dstack_app_id":5}`: "",
	} {
		if got := hex.EncodeToString(peer.Served{Info: []byte(info)}.AppID()); got != want {
			t.Errorf("%s: app id %q, want %q", info, got, want)
		}
	}
}
