package endorsement

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/nvidia/ocsp"
	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/vm"
)

// RIM finds one of NVIDIA's reference manifests, by its id.
func RIM(ctx context.Context, id string, o Options) error {
	f := o.finder()
	_, err := f.obtain(ctx, f.askRIM(id))
	return err
}

// completeGPU adds the manifests that the devices call for, then what the
// responder says about all certificates, those of the manifests among them.
func (f *finder) completeGPU(ctx context.Context, ev *vm.Evidence) error {
	gpu := *ev.GPU
	gpu.RIMs, gpu.OCSP = slices.Clone(gpu.RIMs), slices.Clone(gpu.OCSP)
	var old [][]byte // answers that have ended: the last resort
	if f.Renew {
		gpu.OCSP = slices.DeleteFunc(gpu.OCSP, func(der []byte) bool {
			over := f.over(KindOCSP, der)
			if over {
				old = append(old, der)
			}
			return over
		})
	}
	ev.GPU = &gpu
	err := f.fillGPU(ctx, &gpu)
	if err != nil {
		gpu.OCSP = append(gpu.OCSP, old...)
	}
	return err
}

func (f *finder) fillGPU(ctx context.Context, gpu *vm.GPUEvidence) error {
	need, err := nvidia.Needs(gpu)
	if err != nil {
		return err
	}
	var asks []ask
	for _, r := range need.RIMs {
		if !r.Have {
			asks = append(asks, f.askRIM(r.ID))
		}
	}
	found, err := f.obtainAll(ctx, asks)
	gpu.RIMs = append(gpu.RIMs, found...)
	if err != nil {
		return err
	}

	if need, err = nvidia.Needs(gpu); err != nil {
		return err
	}
	asks = nil
	for _, r := range need.OCSP {
		if r.Have {
			continue
		}
		a, err := f.askOCSP(r)
		if err != nil {
			return err
		}
		asks = append(asks, a)
	}
	found, err = f.obtainAll(ctx, asks)
	gpu.OCSP = append(gpu.OCSP, found...)
	return err
}

// obtainAll returns what could be had, in the order of asks, and the first
// failure.
func (f *finder) obtainAll(ctx context.Context, asks []ask) (bodies [][]byte, err error) {
	found := make([][]byte, len(asks))
	var g errgroup.Group
	g.SetLimit(4)
	for i, a := range asks {
		g.Go(func() error {
			x, err := f.obtain(ctx, a)
			found[i] = x.Body
			return err
		})
	}
	err = g.Wait()
	return slices.DeleteFunc(found, func(b []byte) bool { return b == nil }), err
}

const nvidiaHint = "name services that can be reached with --rim and --ocsp, or on a connected machine run `secretvm collateral fetch EVIDENCE -o collateral.zip` and pass --collateral collateral.zip"

func (f *finder) askRIM(id string) ask {
	a := ask{question: question{vendor: "NVIDIA", kind: KindRIM, name: id}, limit: 2 * store.MaxObject, read: readRIM, hint: nvidiaHint}
	for _, base := range f.Addresses.RIM {
		a.urls = append(a.urls, base+"/v1/rim/"+id)
	}
	return a
}

// askOCSP asks the configured responder. The one that a certificate names is
// not asked: certificates come from strangers.
func (f *finder) askOCSP(r nvidia.OCSPRef) (ask, error) {
	request, err := r.Request()
	if err != nil {
		return ask{}, err
	}
	name := fmt.Sprintf("%x-%.16s", r.Cert.SerialNumber, vm.HashOf(r.Cert.Raw))
	a := ask{
		question: question{vendor: "NVIDIA", kind: KindOCSP, name: name},
		urls:     f.Addresses.OCSP, post: request, contentType: "application/ocsp-request", limit: 64 << 10, hint: nvidiaHint,
	}
	a.read = func(answer *transport.Answer) (body, chain []byte, err error) {
		response, err := ocsp.Parse(answer.Body)
		if err == nil && !response.Covers(r.Cert, r.Issuer) {
			err = errors.New("it is about another certificate")
		}
		return answer.Body, nil, err
	}
	return a, nil
}

// readRIM takes the manifest out of the service's JSON.
func readRIM(a *transport.Answer) (body, chain []byte, err error) {
	var said struct {
		ID     string `json:"id"`
		RIM    string `json:"rim"`
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(a.Body, &said); err != nil {
		return nil, nil, err
	}
	if body, err = base64.StdEncoding.DecodeString(said.RIM); err != nil {
		return nil, nil, fmt.Errorf("its manifest is no base64: %w", err)
	}
	if len(body) == 0 || len(body) > store.MaxObject {
		return nil, nil, fmt.Errorf("its manifest has %d bytes", len(body))
	}
	if said.SHA256 != "" && !matches(said.SHA256, body) && !matches(said.SHA256, []byte(said.RIM)) {
		return nil, nil, errors.New("its manifest is damaged: the SHA-256 beside it is another")
	}
	if said.ID != "" && !strings.HasSuffix(a.URL, "/"+said.ID) {
		return nil, nil, fmt.Errorf("it is the manifest %.60q", said.ID)
	}
	return body, nil, nil
}

func matches(digest string, b []byte) bool {
	sum := sha256.Sum256(b)
	want, err := hex.DecodeString(digest)
	return err == nil && bytes.Equal(sum[:], want)
}
