package verification

import (
	"archive/zip"
	"bytes"
	"encoding/json"
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
	TLSKey      vm.Hash        `json:"tls_key"` // of the connection
	Nonce       hexBytes       `json:"nonce"`   // that was asked with
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
	document(entryAnswer, bundledAnswer{a.URL, a.TLSKey, a.Nonce, a.Asked.UTC(), a.Took, a.Attestation, string(a.Log), a.Served, a.TLSCert})
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

// OpenBundle reads a bundle. Appraise then repeats the verdict: Wanted.Time is
// that of the recorded one, and may be set to judge at another moment. The
// recorded report is ignored. Roots that the bundle carries are returned as
// Wanted.BundleRoots and not accepted: whoever made the bundle chose them, so
// naming them is left to the caller. Entries that are unknown, doubled, or
// larger than documented are refused.
func OpenBundle(b []byte) (Answer, Wanted, error) {
	entries, err := readEntries(b)
	if err != nil {
		return Answer{}, Wanted{}, err
	}
	var said bundledAnswer
	var wish bundledWanted
	if err := decodeJSON(entryAnswer, entries[entryAnswer], &said); err != nil {
		return Answer{}, Wanted{}, err
	}
	if err := decodeJSON(entryWanted, entries[entryWanted], &wish); err != nil {
		return Answer{}, Wanted{}, err
	}
	if len(said.Nonce) > vm.MaxNonceSize || len(said.Attestation.Evidence.Events) > vm.MaxEvents {
		return Answer{}, Wanted{}, vm.Refuse(vm.CodeTooLarge, "the bundle's answer is over the bounds of an attestation")
	}
	if wish.Time.IsZero() {
		return Answer{}, Wanted{}, badBundle("%s names no time", entryWanted)
	}
	a := Answer{
		URL: said.URL, TLSKey: said.TLSKey, Nonce: said.Nonce, Asked: said.Asked, Took: said.Took,
		Attestation: said.Attestation, Config: entries[entryConfig], Recorded: true,
		Served: said.Served, TLSCert: said.TLSCert,
	}
	if said.Log != "" {
		a.Log = []byte(said.Log)
	}
	want := Wanted{
		Compose: entries[entryCompose], Files: entries[entryFiles], Service: wish.Service, GroupKey: wish.GroupKey,
		Time: wish.Time, Policy: wish.Policy, Early: wish.Early, Wishes: wish.Wishes, Recorded: true,
	}
	if m := entries[entryManifest]; m != nil {
		manifest, err := vm.ParseManifest(m)
		if err != nil {
			return Answer{}, Wanted{}, badBundle("%v", err)
		}
		want.Manifest = &manifest
	}
	if p := entries[entryRoots]; p != nil {
		if want.BundleRoots, err = ParseRoots(p); err != nil {
			return Answer{}, Wanted{}, badBundle("%v", err)
		}
	}
	if b := entries[entryRegistry]; b != nil {
		var files []string
		if err := decodeJSON(entryRegistry, b, &files); err != nil {
			return Answer{}, Wanted{}, err
		}
		var source [][]byte
		for _, f := range files {
			source = append(source, []byte(f))
		}
		if want.Registry, err = peer.ParseRegistry(source...); err != nil {
			return Answer{}, Wanted{}, err
		}
	}
	return a, want, nil
}

// registries are the caller's files, which are text.
func registries(source [][]byte) (files []string) {
	for _, b := range source {
		files = append(files, string(b))
	}
	return files
}

// IsBundle reports whether b may be a bundle: whether it is a zip file.
func IsBundle(b []byte) bool { return bytes.HasPrefix(b, []byte("PK\x03\x04")) }

func readEntries(b []byte) (map[string][]byte, error) {
	if len(b) > MaxBundleSize {
		return nil, vm.Refuse(vm.CodeTooLarge, "the bundle has %d bytes, want at most %d", len(b), MaxBundleSize)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, badBundle("%v", err)
	}
	if len(z.File) > len(maxEntry) {
		return nil, badBundle("it has %d entries, want at most %d", len(z.File), len(maxEntry))
	}
	entries := map[string][]byte{}
	for _, f := range z.File {
		limit, known := maxEntry[f.Name]
		switch {
		case !known:
			return nil, badBundle("it has an entry %.80q, which no bundle has", f.Name)
		case entries[f.Name] != nil:
			return nil, badBundle("it has two entries %s", f.Name)
		}
		if entries[f.Name], err = readEntry(f, limit); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{entryAnswer, entryWanted} {
		if entries[name] == nil {
			return nil, badBundle("it has no %s", name)
		}
	}
	return entries, nil
}

// readEntry unpacks no more than limit bytes, whatever the headers claim.
func readEntry(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, badBundle("%s: %v", f.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case int64(len(b)) > limit:
		return nil, vm.Refuse(vm.CodeTooLarge, "%s in the bundle has more than %d bytes", f.Name, limit)
	case err != nil:
		return nil, badBundle("%s: %v", f.Name, err)
	case len(b) == 0:
		return nil, badBundle("%s is empty", f.Name)
	}
	return b, nil
}

func badBundle(format string, args ...any) *vm.Refusal {
	return vm.Refuse(vm.CodeMalformed, "the file is not a bundle of secretvm verify: "+format, args...).
		Try("make one with `secretvm verify URL --bundle out.zip`")
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

func decodeJSON(name string, b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badBundle("%s: %.200q", name, err.Error())
	}
	if _, err := dec.Token(); err != io.EOF {
		return badBundle("%s has trailing bytes", name)
	}
	return nil
}
