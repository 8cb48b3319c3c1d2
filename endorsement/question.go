package endorsement

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// question is one thing that a vendor can be asked for. Its text is the same
// whichever server is asked, so that an answer is found again.
type question struct {
	vendor, kind string
	tee          string // Intel: "tdx" or "sgx"
	fmspc        string // Intel: 12 lower-case hex digits
	ca           string // Intel: "platform" or "processor"
	update       string // Intel: "", updateEarly, or a number of an evaluation
	endorser     string // AMD: "vcek" or "vlek"
	product      string // AMD: Milan, Genoa, Turin
	chip, tcb    string // AMD: hex, and the query that names the TCB
	name         string // NVIDIA: a manifest's id, or a certificate's
}

const updateEarly = "early"

// subject is what the question is about, for people.
func (q question) subject() string {
	switch {
	case q.fmspc != "":
		return q.fmspc
	case q.ca != "":
		return q.ca + " CA"
	case q.kind == KindRootCRL:
		return "root CA"
	case q.kind == KindQEIdentity:
		return map[string]string{"tdx": "TD quoting enclave", "sgx": "quoting enclave"}[q.tee]
	case q.chip != "":
		return q.product + " " + q.chip[:min(len(q.chip), 16)]
	case q.product != "":
		return q.product + " " + strings.ToUpper(q.endorser)
	}
	return q.name
}

// String is the canonical text.
func (q question) String() string {
	update := ""
	if q.update == updateEarly {
		update = "update=early"
	} else if q.update != "" {
		update = "tcbEvaluationDataNumber=" + q.update
	}
	switch q.kind {
	case KindTCBInfo:
		if update != "" {
			update = "&" + update
		}
		return "intel/" + q.tee + "/tcb?fmspc=" + q.fmspc + update
	case KindQEIdentity:
		if update != "" {
			update = "?" + update
		}
		return "intel/" + q.tee + "/qe/identity" + update
	case KindPCKCRL:
		return "intel/pckcrl?ca=" + q.ca
	case KindRootCRL:
		return "intel/rootcacrl"
	case KindVCEK:
		return "amd/vcek/" + q.product + "/" + q.chip + "?" + q.tcb
	case KindChain:
		return "amd/" + q.endorser + "/" + q.product + "/cert_chain"
	case KindCRL:
		return "amd/" + q.endorser + "/" + q.product + "/crl"
	case KindRIM:
		return "nvidia/rim/" + q.name
	}
	return "nvidia/ocsp/" + q.name
}

// The forms of what comes from evidence and becomes part of an address.
var (
	formFMSPC   = regexp.MustCompile(`^[0-9a-f]{12}$`)
	formProduct = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{1,15}$`)
	formChip    = regexp.MustCompile(`^([0-9a-f]{16}|[0-9a-f]{128})$`)
	formTCB     = regexp.MustCompile(`^[a-zA-Z]{2,8}=[0-9]{1,3}(&[a-zA-Z]{2,8}=[0-9]{1,3}){3,4}$`)
	formName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// check refuses what could be part of no address.
func (q question) check() error {
	ok := true
	switch q.kind {
	case KindTCBInfo, KindQEIdentity:
		n, err := strconv.Atoi(q.update)
		ok = (q.tee == "tdx" || q.tee == "sgx") && (q.update == "" || q.update == updateEarly || err == nil && n > 0 && strconv.Itoa(n) == q.update)
		ok = ok && (q.kind == KindQEIdentity || formFMSPC.MatchString(q.fmspc))
	case KindPCKCRL:
		ok = q.ca == "platform" || q.ca == "processor"
	case KindVCEK:
		ok = formProduct.MatchString(q.product) && formChip.MatchString(q.chip) && formTCB.MatchString(q.tcb)
	case KindChain, KindCRL:
		ok = formProduct.MatchString(q.product) && (q.endorser == "vcek" || q.endorser == "vlek")
	case KindRIM, KindOCSP:
		ok = formName.MatchString(q.name)
	}
	if !ok {
		return fmt.Errorf("no vendor can be asked for %.200q", q.String())
	}
	return nil
}

// parseQuestion is the inverse of String.
func parseQuestion(text string) (q question, err error) {
	path, query, _ := strings.Cut(text, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, fmt.Errorf("%.200q is no question: %w", text, err)
	}
	part := strings.Split(path, "/")
	part = append(part, "", "", "", "")
	q.update = values.Get("tcbEvaluationDataNumber")
	if values.Get("update") != "" {
		q.update = values.Get("update")
	}
	switch vendor := part[0]; {
	case vendor == "intel" && part[1] == "rootcacrl":
		q.vendor, q.kind = "Intel", KindRootCRL
	case vendor == "intel" && part[1] == "pckcrl":
		q.vendor, q.kind, q.ca = "Intel", KindPCKCRL, values.Get("ca")
	case vendor == "intel" && part[2] == "tcb":
		q.vendor, q.kind, q.tee, q.fmspc = "Intel", KindTCBInfo, part[1], values.Get("fmspc")
	case vendor == "intel" && part[2] == "qe":
		q.vendor, q.kind, q.tee = "Intel", KindQEIdentity, part[1]
	case vendor == "amd" && part[3] == "cert_chain":
		q.vendor, q.kind, q.endorser, q.product = "AMD", KindChain, part[1], part[2]
	case vendor == "amd" && part[3] == "crl":
		q.vendor, q.kind, q.endorser, q.product = "AMD", KindCRL, part[1], part[2]
	case vendor == "amd" && part[1] == "vcek":
		q.vendor, q.kind, q.endorser, q.product, q.chip, q.tcb = "AMD", KindVCEK, part[1], part[2], part[3], query
	case vendor == "nvidia" && part[1] == "rim":
		q.vendor, q.kind, q.name = "NVIDIA", KindRIM, part[2]
	case vendor == "nvidia" && part[1] == "ocsp":
		q.vendor, q.kind, q.name = "NVIDIA", KindOCSP, part[2]
	default:
		return q, fmt.Errorf("%.200q is no question to a vendor that is known here", text)
	}
	if err := q.check(); err != nil {
		return q, err
	}
	if q.String() != text {
		return q, fmt.Errorf("%.200q is not how that question is written", text)
	}
	return q, nil
}

func lowerHex(b []byte) string { return hex.EncodeToString(b) }
