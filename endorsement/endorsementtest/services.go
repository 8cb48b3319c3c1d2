package endorsementtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/vm"
)

// Services answers as all vendors at once, at one URL.
type Services struct {
	URL string

	mu     sync.Mutex
	answer map[string]answer // by path and query
	asked  []string
	faults []*Fault
	ocsp   func(request []byte) []byte
}

type answer struct {
	kind   string
	header map[string]string
	body   []byte
}

// Start runs the services until the test ends.
func Start(t testing.TB) *Services {
	s := &Services{answer: map[string]answer{}}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Addresses are those of the services.
func (s *Services) Addresses() endorsement.Addresses {
	at := []string{s.URL}
	return endorsement.Addresses{Intel: at, AMD: at, RIM: at, OCSP: at}
}

// Put serves a body at a path with its query.
func (s *Services) Put(path, kind string, body []byte) { s.put(path, answer{kind: kind, body: body}) }

func (s *Services) put(path string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[path] = a
}

// PutIntel serves collateral as a PCCS does, for one platform. choice is
// "" (what counts today), "update=early" or "tcbEvaluationDataNumber=17".
func (s *Services) PutIntel(tee, fmspc, ca, choice string, c vm.Collateral) {
	tcb, qe := "/"+tee+"/certification/v4/tcb?fmspc="+fmspc, "/"+tee+"/certification/v4/qe/identity"
	if choice != "" {
		tcb, qe = tcb+"&"+choice, qe+"?"+choice
	}
	const chain = "SGX-Enclave-Identity-Issuer-Chain"
	s.put(tcb, answer{"application/json", map[string]string{"TCB-Info-Issuer-Chain": url.PathEscape(string(c.TCBInfoChain))}, c.TCBInfo})
	s.put(qe, answer{"application/json", map[string]string{chain: url.PathEscape(string(c.QEIdentityChain))}, c.QEIdentity})
	s.put("/sgx/certification/v4/pckcrl?ca="+ca+"&encoding=der",
		answer{"application/pkix-crl", map[string]string{"SGX-PCK-CRL-Issuer-Chain": url.PathEscape(string(c.PCKCRLChain))}, c.PCKCRL})
	s.put("/sgx/certification/v4/rootcacrl", answer{"application/pkix-crl", nil, []byte(hex.EncodeToString(c.RootCACRL))})
}

// PutRIM serves a reference manifest as NVIDIA's service does.
func (s *Services) PutRIM(t testing.TB, id string, xml []byte) {
	digest := sha256.Sum256(xml)
	body, err := json.Marshal(map[string]string{
		"id": id, "rim": base64.StdEncoding.EncodeToString(xml), "sha256": hex.EncodeToString(digest[:]), "last_updated": "2025-01-01T00:00:00Z",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Put("/v1/rim/"+id, "application/json", body)
}

// AnswerOCSP sets what POSTed requests are answered with.
func (s *Services) AnswerOCSP(f func(request []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ocsp = f
}

// Fail adds a fault. The first one that fits is used.
func (s *Services) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Services) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Asked returns how many requests there were whose path and query contain part.
func (s *Services) Asked(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.asked {
		if strings.Contains(path, part) {
			n++
		}
	}
	return n
}

func (s *Services) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.RequestURI()
	fault, a, known := s.find(path)
	if r.Method == http.MethodPost {
		s.mu.Lock()
		answerer := s.ocsp
		s.mu.Unlock()
		request, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if known = answerer != nil && err == nil; known {
			a = answer{kind: "application/ocsp-response", body: answerer(request)}
		}
	}
	if fault != nil && !fault.spoil(w, r, &a) {
		return
	}
	if !known {
		w.Header().Set("Error-Message", "no such thing here")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", a.kind)
	write(w, a.body)
}

// write writes to a client that may have left: the tests look at the client.
func write(w io.Writer, b []byte) {
	if _, err := w.Write(b); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *Services) find(path string) (f *Fault, a answer, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, path)
	for _, fault := range s.faults {
		if fault.Times != 0 && strings.Contains(path, fault.Path) {
			fault.Times--
			f = fault
			break
		}
	}
	a, known = s.answer[path]
	a.header = maps.Clone(a.header)
	return f, a, known
}
