package exhibit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
)

// rimFile decodes a reference document of NVIDIA's: signed XML.
func rimFile(b []byte) (Exhibit, bool) {
	if text := bytes.TrimSpace(b); !bytes.HasPrefix(text, []byte("<")) {
		return Exhibit{}, false
	}
	product, version, err := rim.Claim(b)
	if err != nil {
		return Exhibit{}, false
	}
	s := Section{Title: "Reference document"}
	s.row("product", "%s", product)
	s.row("version", "%s", version)
	if signers, err := rim.Signers(b); err == nil {
		for i, c := range signers {
			s.certificate(fmt.Sprintf("certificate %d", i+1), c.Raw)
		}
	}
	d, err := rim.Open(b)
	if err != nil {
		s.unread("measurements", err)
	}
	for _, g := range d.Golden {
		for _, v := range g.Values {
			s.row(fmt.Sprintf("measurement %d", g.Index), "%x", v)
		}
	}
	return Exhibit{"reference document of NVIDIA (RIM)", []Section{s}}, true
}

// tokenFile decodes what an attestation service answered: a JWT, or a list of
// them as NVIDIA's service writes it.
func tokenFile(b []byte) (Exhibit, bool) {
	var sections []Section
	for _, word := range strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" \n\r\t\"[]{}:,", r) }) {
		parts := strings.Split(word, ".")
		if len(parts) != 3 || len(sections) == maxTokens {
			continue
		}
		header, err1 := claims(parts[0])
		body, err2 := claims(parts[1])
		if err1 != nil || err2 != nil || header["alg"] == nil {
			continue
		}
		s := Section{Title: fmt.Sprintf("Token %d (JWT)", len(sections)+1)}
		s.claims("header ", header)
		s.claims("", body)
		sections = append(sections, s)
	}
	if sections == nil {
		return Exhibit{}, false
	}
	return Exhibit{"tokens of an attestation service (EAT)", sections}, true
}

// maxTokens bounds what one file shows.
const maxTokens = 32

func claims(part string) (m map[string]json.RawMessage, err error) {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal(b, &m)
}

func (s *Section) claims(prefix string, m map[string]json.RawMessage) {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s.row(prefix+name, "%s", m[name])
	}
}
