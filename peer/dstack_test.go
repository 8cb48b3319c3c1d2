package peer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const fixtures = "dstack/dstack/verifier/fixtures/"

func dstackMachine(t testing.TB, name string) (vm.Measurement, eventlog.Log) {
	t.Helper()
	var answer struct {
		Quote string `json:"quote"`
		Log   string `json:"event_log"`
	}
	if err := json.Unmarshal(vectors.Read(t, fixtures+name), &answer); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(answer.Quote)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.ParseDstack([]byte(answer.Log))
	if err != nil {
		t.Fatal(err)
	}
	return q.Body.Measurement(), log
}

func TestRecogniseDstack(t *testing.T) {
	for _, tt := range []struct{ file, app, compose, image, provider, binding, application string }{
		{
			"quote-report.json", "3763bc34552cf3a27ff71ad5f7a90471562a1a2d",
			"3763bc34552cf3a27ff71ad5f7a90471562a1a2df552dfc1998cba2d60da27e7", "", "local-sgx", "", "LIUM_MINER_HOTKEY",
		},
		{
			"tdx-lite-getquote.json", "86b0e55f2fa8e4fb69d890f14f54d5612707646e",
			"86b0e55f2fa8e4fb69d890f14f54d5612707646e2573d54e0d2ddaaade77caa9",
			"07a2388c7a6a1b6a646d443f1517990a4ec294471d63146cda9d56972765051d", "kms", "MR_CONFIG_ID version 1", "",
		},
	} {
		m, log := dstackMachine(t, tt.file)
		d, err := peer.RecogniseDstack(m, log)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.CheckBinding(m.MRConfigID, nil, nil); err != nil {
			t.Error(err)
		}
		if d.AppID != tt.app || d.Compose.String() != tt.compose || d.OSImage != tt.image || d.KeyProvider.Name != tt.provider || d.Binding != tt.binding ||
			strings.Join(d.Application, " ") != tt.application {
			t.Errorf("%s: %+v", tt.file, d)
		}
	}
}

// build makes a machine that measured the events.
func build(events ...vm.Event) (m vm.Measurement, log eventlog.Log) {
	for _, e := range events {
		m.RTMR[e.Register] = m.RTMR[e.Register].Extend(e.Digest)
		log = append(log, eventlog.Event{Register: e.Register, Type: eventlog.Runtime, Digest: e.Digest, Data: e.Payload, Name: e.Name})
	}
	return m, log
}

func TestB7_DstackImitations(t *testing.T) {
	compose := vm.HashOf([]byte("app"))
	boot := []vm.Event{
		vm.RuntimeEvent("system-preparing", nil), vm.RuntimeEvent("app-id", compose[:20]), vm.RuntimeEvent("compose-hash", compose[:]),
		vm.RuntimeEvent("boot-mr-done", nil), vm.RuntimeEvent("system-ready", nil),
	}
	with := func(change func(events []vm.Event) []vm.Event) []vm.Event { return change(slices.Clone(boot)) }
	for _, tt := range []struct {
		name    string
		events  []vm.Event
		wantErr string
	}{
		{"good", boot, ""},
		{"with events of the application", append(slices.Clone(boot), vm.RuntimeEvent("mine", nil), vm.RuntimeEvent("mine", nil)), ""},
		{"compose hash twice", with(func(e []vm.Event) []vm.Event { return slices.Insert(e, 3, e[2]) }), "second time"},
		{"compose hash again behind the boot", append(slices.Clone(boot), boot[2]), "second time"},
		{"os image only behind the boot", append(slices.Clone(boot), vm.RuntimeEvent("os-image-hash", compose[:])), "after the boot"},
		{"no end of boot", boot[:4], "does not tell boot from application"},
		{"no compose hash", with(func(e []vm.Event) []vm.Event { return slices.Delete(e, 2, 3) }), "did not measure"},
		{"compose hash of 31 bytes", with(func(e []vm.Event) []vm.Event { e[2] = vm.RuntimeEvent("compose-hash", compose[:31]); return e }), "did not measure"},
		{"key provider is no document", with(func(e []vm.Event) []vm.Event { e[3] = vm.RuntimeEvent("key-provider", []byte("x")); return e }), "key-provider"},
	} {
		m, log := build(tt.events...)
		_, err := peer.RecogniseDstack(m, log)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || vm.CodeOf(err) != vm.CodeEvents) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wantErr)
		}
	}
	m, log := build(boot...)
	m.RTMR[3][0] ^= 1
	if _, err := peer.RecogniseDstack(m, log); vm.CodeOf(err) != vm.CodeEvents {
		t.Errorf("a log that does not explain the register: %v", err)
	}
}

func TestAppCompose(t *testing.T) {
	doc := vectors.Read(t, "dstack/sdk/simulator/app-compose.json")
	app, err := peer.ParseAppCompose(doc)
	if err != nil {
		t.Fatal(err)
	}
	if app.Digest() != vm.HashOf(doc) || !strings.HasPrefix(app.Compose, "services:\n  dstack-agent:") || app.Runner != "docker-compose" {
		t.Errorf("%+v", app)
	}
	if got := app.Scripts(); !slices.Equal(got, []string{"pre_launch_script"}) {
		t.Errorf("scripts %q, want pre_launch_script", got)
	}
	for _, bad := range []string{"", "x", "[]", "{}", `{"runner":5}`, strings.Repeat(" ", 2<<20)} {
		if _, err := peer.ParseAppCompose([]byte(bad)); err == nil {
			t.Errorf("%.10q was read", bad)
		}
	}
	for doc, want := range map[string]int{
		`{"runner":"x","init_script":null}`: 0, `{"runner":"x","init_script":[]}`: 0, `{"runner":"x","init_script":"a"}`: 1,
		`{"runner":"x","init_script":["a"],"bash_script":"b"}`: 2,
	} {
		if app, err := peer.ParseAppCompose([]byte(doc)); err != nil || len(app.Scripts()) != want {
			t.Errorf("%s: %q, %v", doc, app.Scripts(), err)
		}
	}
}

// dstack's machine on SEV-SNP: HOST_DATA is bound to the document inside.
func TestDocumentOfARealMachine(t *testing.T) {
	var file struct {
		Attestation string `json:"attestation"`
	}
	if err := json.Unmarshal(vectors.Read(t, fixtures+"sev-snp-attestation.json"), &file); err != nil {
		t.Fatal(err)
	}
	blob, err := hex.DecodeString(file.Attestation)
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.Index(blob, []byte(`{"app_id"`))
	document := blob[start : start+bytes.Index(blob[start:], []byte(`"version":3}`))+len(`"version":3}`)]
	const hostData = "783f0057820acb99249af56cc3b07b4e8d80f65183167cba9cf437bb680f742f"
	if got := peer.DocumentDigest(document).String(); got != hostData {
		t.Errorf("digest %s, want HOST_DATA %s", got, hostData)
	}
	doc, err := peer.ParseDocument(document)
	if err != nil {
		t.Fatal(err)
	}
	if doc.AppID != doc.Compose.String()[:40] {
		t.Errorf("%+v", doc)
	}

	// The same document in MR_CONFIG_ID.
	d := peer.Dstack{AppID: doc.AppID, InstanceID: doc.InstanceID, Compose: doc.Compose}
	var id vm.Register
	digest := peer.DocumentDigest(document)
	id[0] = 3
	copy(id[1:], digest[:])
	if err := d.CheckBinding(id, nil, document); err != nil || d.Binding != "MR_CONFIG_ID version 3" {
		t.Errorf("binding %q, %v", d.Binding, err)
	}
	other := d
	other.Binding, other.AppID = "", strings.Repeat("0", 40)
	if err := other.CheckBinding(id, nil, document); vm.CodeOf(err) != vm.CodeConfig {
		t.Errorf("another app id: %v", err)
	}
	if err := d.CheckBinding(id, nil, append(bytes.Clone(document), ' ')); vm.CodeOf(err) != vm.CodeConfig {
		t.Errorf("one more byte in the document: %v", err)
	}
}

func TestLaunchBinding(t *testing.T) {
	compose := vm.HashOf([]byte("app"))
	d := peer.Dstack{AppID: hex.EncodeToString(compose[:20]), Compose: compose}
	id := func(version byte, digest []byte) (r vm.Register) {
		r[0] = version
		copy(r[1:], digest)
		return r
	}
	// Keccak-256 over compose hash, app id, 0x02 for kms, and 0xabcd; computed with another implementation.
	app := peer.AppCompose{KeyProvider: "kms", KeyProviderID: "abcd"}
	keccak, _ := hex.DecodeString("e99b7b8862982ef0a840b28c7b9f08b4c4e807756aa5525c2c1f9f3dfb312e89")
	for _, tt := range []struct {
		name    string
		id      vm.Register
		binding string
		code    vm.Code
	}{
		{"nothing bound", vm.Register{}, "", ""},
		{"version 1", id(1, compose[:]), "MR_CONFIG_ID version 1", ""},
		{"version 1, another application", id(1, make([]byte, 32)), "", vm.CodeConfig},
		{"version 1, trailing byte", func() vm.Register { r := id(1, compose[:]); r[47] = 1; return r }(), "", vm.CodeConfig},
		{"version 2", id(2, keccak), "MR_CONFIG_ID version 2", ""},
		{"version 2, another application", id(2, compose[:]), "", vm.CodeConfig},
		{"version 3 without its document", id(3, compose[:]), "", ""},
		{"version 4", id(4, compose[:]), "", vm.CodeConfig},
	} {
		d := d
		err := d.CheckBinding(tt.id, &app, nil)
		if tt.code == "" && err != nil || tt.code != "" && vm.CodeOf(err) != tt.code || d.Binding != tt.binding {
			t.Errorf("%s: binding %q, %v", tt.name, d.Binding, err)
		}
	}
}
