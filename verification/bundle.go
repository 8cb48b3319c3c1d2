package verification

import (
	"archive/zip"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// Entries of a bundle, in their order in the file.
const (
	entryReadme   = "README.txt"
	entryAnswer   = "answer.json"
	entryConfig   = "config.json"         // as served, byte for byte
	entryWanted   = "wanted.json"         // the caller's wishes that are not files
	entryCompose  = "docker-compose.yaml" // the caller's
	entryFiles    = "files.tar"           // the caller's
	entryManifest = "manifest.json"       // the caller's
	entryRoots    = "roots.pem"           // accepted beside the vendors'
	entryRegistry = "registries.json"     // known images of existing SecretVM: the caller's files, as text
	entryReport   = "report.json"         // the verdict of then; not believed when read
)

// MaxBundleSize bounds a bundle, in bytes, as it is and with its entries
// unpacked.
const MaxBundleSize = 64 << 20

// maxEntry bounds single entries; what is not named here is no entry of a bundle.
var maxEntry = map[string]int64{
	entryReadme: 64 << 10, entryAnswer: 3 * maxAnswerSize, entryConfig: vm.MaxConfigSize, entryWanted: 2 << 20, entryCompose: 4 << 20,
	entryFiles: 32 << 20, entryManifest: 4 << 20, entryRoots: 256 << 10, entryRegistry: 16 << 20, entryReport: 8 << 20,
}

// entryDate is that of every entry: the first that the format has.
var entryDate = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// maxAnswerSize bounds evidence within vm's limits, in base64.
const maxAnswerSize = 8 << 20

// bundledAnswer is answer.json.
type bundledAnswer struct {
	URL         string         `json:"url"`
	TLSKey      vm.Hash        `json:"tls_key"`            // of the connection
	Nonce       hexBytes       `json:"nonce"`              // that was asked with
	Exporter    hexBytes       `json:"exporter,omitempty"` // of the connection
	Claims      []byte         `json:"claims,omitempty"`   // of its certificate
	Asked       time.Time      `json:"asked"`
	Took        time.Duration  `json:"took_ns"`
	Attestation vm.Attestation `json:"attestation"`
	Log         string         `json:"event_log,omitempty"` // dstack's
	Served      *peer.Served   `json:"served,omitempty"`    // of another system's machine
	TLSCert     vm.Hash        `json:"tls_certificate,omitzero"`
}

// bundledWanted is wanted.json. Fields follow Wanted; roots and files are
// entries of their own.
type bundledWanted struct {
	Time     time.Time      `json:"time"` // of the verdict
	Service  string         `json:"service,omitempty"`
	GroupKey string         `json:"kms,omitempty"`
	Policy   attest.Policy  `json:"policy"`
	Early    *vm.Collateral `json:"early,omitempty"`
	Wishes   Wishes         `json:"wishes"`
}

// WriteBundle writes every input of a verification into one zip file, with the
// report that came of it, so that anyone can repeat the verdict. Equal inputs
// give equal bytes: entries are stored in a fixed order, under one date.
func WriteBundle(w io.Writer, a Answer, want Wanted, r Report) error {
	z := zip.NewWriter(w)
	var failed error
	add := func(name string, b []byte) {
		if b == nil || failed != nil {
			return
		}
		if int64(len(b)) > maxEntry[name] {
			failed = vm.Refuse(vm.CodeTooLarge, "%s is too large for a bundle", name).
				On(name, fmt.Sprintf("%d bytes", len(b)), fmt.Sprintf("at most %d", maxEntry[name]))
			return
		}
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: entryDate})
		if err == nil {
			_, err = entry.Write(b)
		}
		failed = err
	}
	document := func(name string, v any) {
		b, err := encodeJSON(v)
		if err != nil {
			failed = err
			return
		}
		add(name, b)
	}
	add(entryReadme, []byte(bundleReadme(a, want, r)))
	document(entryAnswer, bundledAnswer{a.URL, a.TLSKey, a.Nonce, a.Exporter, a.Claims, a.Asked.UTC(), a.Took, a.Attestation, string(a.Log), a.Served, a.TLSCert})
	add(entryConfig, a.Config)
	document(entryWanted, bundledWanted{want.Time.UTC(), want.Service, want.GroupKey, want.Policy, want.Early, want.Wishes})
	add(entryCompose, want.Compose)
	add(entryFiles, want.Files)
	if want.Manifest != nil {
		b, err := want.Manifest.Encode()
		if err != nil {
			return err
		}
		add(entryManifest, b)
	}
	var roots []byte
	for _, c := range want.Roots {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	add(entryRoots, roots)
	if want.Registry != nil {
		document(entryRegistry, registries(want.Registry.Source))
	}
	document(entryReport, r)
	if failed != nil {
		return fmt.Errorf("write bundle: %w", failed)
	}
	return z.Close()
}
