package attestd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// echoTEE is an echoQuoter as a TEE.
type echoTEE struct {
	tee.Device
	echoQuoter
}

func (e *echoTEE) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	return e.echoQuoter.Quote(ctx, rd)
}

// askedGPUs answer a nonce with itself.
func askedGPUs(_ context.Context, nonce vm.Hash) (*vm.GPUEvidence, error) {
	return &vm.GPUEvidence{Nonce: nonce[:], Devices: []vm.GPUDevice{
		{Kind: "gpu", Architecture: "HOPPER", Evidence: nonce[:], CertChain: []byte("PEM")},
		{Kind: "switch", Architecture: "LS10", Evidence: nonce[:], CertChain: []byte("PEM")},
	}}, nil
}

// A machine with GPUs shows them in the form and with the binding that existing
// verifiers know, and with every fresh quote over its own nonce.
func TestGPUsAreShown(t *testing.T) {
	opt := signing(testOptions(t), gpu.Quoter{Device: &echoTEE{}, Ask: askedGPUs},
		gpu.Quoter{Device: &echoTEE{}, Ask: askedGPUs, InHalf: true}, nil)
	s, url, client := serve(t, opt)

	_, body := get(t, client, url+"/cpu")
	quote, err := hex.DecodeString(strings.TrimSpace(body))
	if err != nil || len(quote) != 64 {
		t.Fatalf("/cpu: %q, %v", body, err)
	}
	spki := s.TLSKey()
	if !bytes.Equal(quote[:32], spki[:]) || bytes.Equal(quote[32:], make([]byte, 32)) {
		t.Errorf("report data of /cpu is %x, want the key's digest %s and a nonce", quote, spki)
	}
	var request struct {
		Nonce, Arch string
		List        []struct{ Certificate, Evidence []byte } `json:"evidence_list"`
	}
	resp, body := get(t, client, url+"/gpu")
	if err := json.Unmarshal([]byte(body), &request); err != nil || resp.StatusCode != 200 {
		t.Fatalf("/gpu: %d %s, %v", resp.StatusCode, body, err)
	}
	if request.Nonce != hex.EncodeToString(quote[32:]) || request.Arch != "HOPPER" || len(request.List) != 1 || hex.EncodeToString(request.List[0].Evidence) != request.Nonce {
		t.Errorf("/gpu is %s, want the one GPU over the second half of /cpu's report data", body)
	}

	var a vm.Attestation
	_, body = get(t, client, url+"/attestation?nonce=00112233445566778899aabbccddeeff")
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	bound(t, "/attestation", a.Evidence)

	_, body = get(t, client, url+"/bundle")
	z, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("answer.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	var answer struct{ Attestation vm.Attestation }
	if err != nil || json.Unmarshal(text, &answer) != nil {
		t.Fatalf("answer.json is %s, %v", text, err)
	}
	bound(t, "/bundle", answer.Attestation.Evidence)
}

// bound checks that the devices of evidence answered what its quote stands for.
func bound(t *testing.T, what string, ev vm.Evidence) {
	t.Helper()
	if ev.GPU == nil || len(ev.GPU.Devices) != 2 || vm.Hash(ev.GPU.Nonce) != vm.GPUNonce([64]byte(ev.Quote)) {
		t.Errorf("%s shows %+v beside a quote over %x", what, ev.GPU, ev.Quote)
	}
}

// Without GPUs the second half of report data stays zero, and /gpu says so in
// the way that existing verifiers take for "no GPU".
func TestMachinesWithoutGPUs(t *testing.T) {
	_, url, client := serve(t, testOptions(t))
	resp, body := get(t, client, url+"/gpu")
	if resp.StatusCode != 404 || !strings.Contains(body, `"error"`) {
		t.Errorf("/gpu: %d %s", resp.StatusCode, body)
	}
	if _, body := get(t, client, url+"/cpu"); !strings.HasSuffix(strings.TrimSpace(body), strings.Repeat("0", 64)) {
		t.Errorf("/cpu: %s", body)
	}
}
