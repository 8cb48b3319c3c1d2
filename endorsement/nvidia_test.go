package endorsement_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"testing"

	"golang.org/x/crypto/ocsp"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// gpuBed is a development PKI in NVIDIA's place, a GPU below it, and services
// that serve its documents and answers.
func gpuBed(t *testing.T) (*endorsementtest.Services, *nvidiatest.PKI, *vm.GPUEvidence) {
	t.Helper()
	pki, err := nvidiatest.New(july)
	if err != nil {
		t.Fatal(err)
	}
	device, err := pki.Device("gpu", "GH100")
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{7}, 32)
	shown, err := device.Evidence(nonce, nil)
	if err != nil {
		t.Fatal(err)
	}
	ev := &vm.GPUEvidence{Nonce: nonce, Devices: []vm.GPUDevice{shown}}

	s := endorsementtest.Start(t)
	driver, err := pki.DriverRIM(nvidiatest.Golden(1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	vbios, err := pki.VBIOSRIM(nvidiatest.Golden(4, 5))
	if err != nil {
		t.Fatal(err)
	}
	s.PutRIM(t, "NV_GPU_DRIVER_GH100_"+nvidiatest.Driver, driver)
	s.PutRIM(t, "NV_GPU_VBIOS_"+nvidiatest.SKU+"_96009F0001", vbios)
	chains := [][]nvidiatest.Credential{device.Chain, {pki.RIMSigner, pki.RIMCA, pki.RIMRoot}}
	s.AnswerOCSP(func(request []byte) []byte {
		asked, err := ocsp.ParseRequest(request)
		if err != nil {
			return []byte(err.Error())
		}
		for _, chain := range chains {
			for i := range chain[:len(chain)-1] {
				if chain[i].Cert.SerialNumber.Cmp(asked.SerialNumber) == 0 {
					der, err := pki.Answer(chain[i].Cert, chain[i+1], nvidiatest.Good, nil)
					if err != nil {
						return []byte(err.Error())
					}
					return der
				}
			}
		}
		return []byte{0x30, 0x03, 0x0a, 0x01, 0x06} // unauthorised
	})
	return s, pki, ev
}

// Manifests first, then what the responder says of all certificates; then
// again without a network.
func TestGPU(t *testing.T) {
	s, pki, ev := gpuBed(t)
	b := newBed(t)
	o := b.options
	o.Addresses = s.Addresses()
	carried := realCollateral(t, "tdx_quote_collateral.json")
	for range 2 {
		whole := vm.Evidence{Quote: quote(t), Collateral: &carried, GPU: ev}
		if err := endorsement.Complete(context.Background(), &whole, o); err != nil {
			t.Fatal(err)
		}
		if len(ev.RIMs)+len(ev.OCSP) != 0 {
			t.Fatal("the caller's evidence was changed")
		}
		result, err := nvidia.Verify(whole.GPU, nvidia.Options{Time: july, Roots: pki.Roots()})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Devices) != 1 || len(whole.GPU.RIMs) != 2 || len(whole.GPU.OCSP) != 4 {
			t.Errorf("%d devices, %d manifests, %d answers", len(result.Devices), len(whole.GPU.RIMs), len(whole.GPU.OCSP))
		}
		o.Offline = true
	}
	if n := s.Asked("/v1/rim/"); n != 2 {
		t.Errorf("asked %d times for manifests", n)
	}
}

// Answers that ended are dropped and asked for again when that is wanted.
func TestOldAnswersAreRenewed(t *testing.T) {
	s, _, ev := gpuBed(t)
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	whole := vm.Evidence{TEE: vm.SNP, GPU: ev}
	endorsement.Complete(context.Background(), &whole, o) // the CPU's part is missing here
	if len(whole.GPU.OCSP) != 4 {
		t.Fatalf("%d answers", len(whole.GPU.OCSP))
	}
	o.Time, o.Renew = july.AddDate(0, 0, 10), true
	endorsement.Complete(context.Background(), &whole, o)
	if len(whole.GPU.OCSP) != 4 || s.Asked("") < 2+8 {
		t.Errorf("%d answers, asked %d times", len(whole.GPU.OCSP), s.Asked(""))
	}
}

func TestRIMService(t *testing.T) {
	const id = "NV_GPU_DRIVER_GH100_550.144.03"
	real := vectors.Read(t, "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"+id+".xml")
	text := base64.StdEncoding.EncodeToString(real)
	for _, tt := range []struct {
		name, body string
		code       vm.Code
	}{
		{"as it is", fmt.Sprintf(`{"id":%q,"rim":%q}`, id, text), ""},
		{"other id", fmt.Sprintf(`{"id":"OTHER","rim":%q}`, text), vm.CodeMalformed},
		{"other digest", fmt.Sprintf(`{"id":%q,"rim":%q,"sha256":"00"}`, id, text), vm.CodeMalformed},
		{"no manifest", fmt.Sprintf(`{"id":%q}`, id), vm.CodeMalformed},
		{"no base64", fmt.Sprintf(`{"id":%q,"rim":"<xml>"}`, id), vm.CodeMalformed},
		{"no XML", fmt.Sprintf(`{"id":%q,"rim":"AAAA"}`, id), vm.CodeMalformed},
		{"no JSON", "<html>", vm.CodeMalformed},
		{"array", "[]", vm.CodeMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := endorsementtest.Start(t)
			s.Put("/v1/rim/"+id, "application/json", []byte(tt.body))
			var got []byte
			o := endorsement.Options{Addresses: s.Addresses(), Client: hasty(), Found: func(x endorsement.Finding) { got = x.Body }}
			err := endorsement.RIM(context.Background(), id, o)
			if tt.code != "" {
				refused(t, err, tt.code)
			} else if err != nil || !bytes.Equal(got, real) {
				t.Errorf("manifest of %d bytes, %v", len(got), err)
			}
		})
	}
	refused(t, endorsement.RIM(context.Background(), "../../etc", endorsement.Options{}), vm.CodeInvalid)
}

// An answer about another certificate is none.
func TestOCSPAboutAnother(t *testing.T) {
	s, pki, ev := gpuBed(t)
	der, err := pki.Answer(pki.Service.Cert, pki.RIMRoot, nvidiatest.Good, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.AnswerOCSP(func([]byte) []byte { return der })
	whole := vm.Evidence{TEE: vm.SNP, GPU: ev}
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	err = endorsement.Complete(context.Background(), &whole, o)
	if err == nil || len(whole.GPU.OCSP) != 0 || len(whole.GPU.RIMs) != 2 {
		t.Errorf("%d answers kept, %v", len(whole.GPU.OCSP), err)
	}
}
