package attestd

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/vm"
)

const bundleReadme = `This is what a machine showed about itself. Anyone can check it, without the
machine:

    secretvm verify THIS.zip --compose docker-compose.yaml --manifest manifest.json

Take compose file and manifest from their owner or your own build. None is in
here: what you expect of a machine is not for the machine to say. That the
evidence came over the connection named in answer.json is the word of whoever
gave you this file; ask the machine yourself to be sure.
`

// serveBundle gives everything that a verifier needs of the machine in one
// file, which package verification reads: a fresh quote over the caller's nonce
// (over one of ours without), events, collateral and config.
func (s *Server) serveBundle(w http.ResponseWriter, r *http.Request) {
	nonce := make([]byte, 32)
	if r.URL.Query().Has("nonce") {
		var refusal *vm.Refusal
		if nonce, refusal = readNonce(r); refusal != nil {
			fail(w, http.StatusBadRequest, refusal)
			return
		}
	} else if _, err := rand.Read(nonce); err != nil {
		s.failQuote(w, err)
		return
	}
	asked := time.Now().UTC()
	a, err := s.attest(r, nonce, nil)
	if err != nil {
		s.failQuote(w, err)
		return
	}
	url := ""
	if plainHost(r.Host) {
		url = "https://" + r.Host
	}
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, entry := range []struct {
		name string
		body []byte
	}{
		{"README.txt", []byte(bundleReadme)},
		{"answer.json", attestation.Encode(map[string]any{
			"url": url, "tls_key": s.key.SPKI, "nonce": a.Nonce, "asked": asked, "took_ns": time.Since(asked), "attestation": a,
		})},
		{"config.json", s.opt.Config},
		{"wanted.json", attestation.Encode(map[string]any{"time": asked})},
	} {
		f, err := z.CreateHeader(&zip.FileHeader{Name: entry.name, Method: zip.Store, Modified: asked})
		if err == nil {
			_, err = f.Write(entry.body)
		}
		if err != nil { // a buffer takes everything
			s.failQuote(w, err)
			return
		}
	}
	if err := z.Close(); err != nil {
		s.failQuote(w, err)
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="evidence.zip"`)
	write(w, http.StatusOK, typeZip, file.Bytes())
}
