package verification

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

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
	if len(said.Nonce) > vm.MaxNonceSize || len(said.Exporter) > vm.ExporterSize || len(said.Claims) > vm.MaxEventsSize || len(said.Attestation.Evidence.Events) > vm.MaxEvents {
		return Answer{}, Wanted{}, vm.Refuse(vm.CodeTooLarge, "the bundle's answer is over the bounds of an attestation")
	}
	if wish.Time.IsZero() {
		return Answer{}, Wanted{}, badBundle("%s names no time", entryWanted)
	}
	a := Answer{
		URL: said.URL, TLSKey: said.TLSKey, Nonce: said.Nonce, Exporter: said.Exporter, Claims: said.Claims, Asked: said.Asked, Took: said.Took,
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
