package attestd

import (
	"net/http"
	"regexp"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/clock"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// statusAnswer is the body of /status. The first three fields are those of
// existing services; nothing in it depends on the workload's content.
type statusAnswer struct {
	Status     string      `json:"status"` // "server_alive"
	Time       time.Time   `json:"time"`   // the guest's clock, RFC 3339, a hint
	Env        string      `json:"env"`    // "prod", or "dev" on a soft TEE
	TEE        vm.TEE      `json:"tee"`
	Service    string      `json:"service"`
	UptimeMS   int64       `json:"uptime_ms"`
	Workload   string      `json:"workload,omitempty"`
	Containers []Container `json:"containers,omitempty"`
	Stage      string      `json:"stage"` // the step that runs, "failed" or "complete"
	Boot       []bootStep  `json:"boot"`
	ConfigHash vm.Hash     `json:"config_hash"`

	TLS   *attestation.Certificates `json:"tls,omitempty"`
	Clock *clock.Status             `json:"clock,omitempty"` // where Time comes from
}

// bootStep has the code of an error for everybody; what it says, and remarks,
// may quote the workload and are for those who may read logs.
type bootStep struct {
	Step   string  `json:"step"`
	State  string  `json:"state"` // "running", "waiting", "ok" or "failed"
	MS     int64   `json:"ms"`
	Code   vm.Code `json:"code,omitempty"`
	Remark string  `json:"remark,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	status := s.status()
	answer := statusAnswer{
		Status: "server_alive", Time: time.Now().UTC().Truncate(time.Second), Env: "prod", TEE: s.opt.TEE,
		Service: s.config.Service, UptimeMS: time.Since(s.opt.Booted).Milliseconds(), Workload: status.Workload,
		Stage: "complete", Boot: []bootStep{}, ConfigHash: s.digest, TLS: status.TLS, Clock: status.Clock,
	}
	if s.opt.TEE == vm.Soft {
		answer.Env = "dev"
	}
	if s.allowed("services", r) {
		answer.Containers = status.Containers
	}
	full := s.allowed("logs", r)
	for i := range certificatesOf(answer.TLS) {
		if c := &answer.TLS.Certificates[i]; c.Error != "" && !full {
			c.Error = "the machine's logs say why"
		}
	}
	for _, st := range status.Steps {
		b := stepOf(st, full)
		if b.State == "failed" {
			answer.Stage = "failed"
		}
		answer.Boot = append(answer.Boot, b)
	}
	if status.Running != "" {
		answer.Stage = status.Running
		b := bootStep{Step: status.Running, State: "running", MS: status.Ran.Milliseconds()}
		if status.Waiting != "" {
			b.State = "waiting"
		}
		if full {
			b.Remark = status.Waiting
		}
		answer.Boot = append(answer.Boot, b)
	}
	writeJSON(w, http.StatusOK, answer)
}

// certificatesOf lists what there is of them.
func certificatesOf(s *attestation.Certificates) []attestation.Certificate {
	if s == nil {
		return nil
	}
	return s.Certificates
}

// codeInText finds the code that the text of a refusal ends with.
var codeInText = regexp.MustCompile(`\[([a-z-]{1,40})\]`)

func stepOf(st step.Result, full bool) bootStep {
	b := bootStep{Step: st.Name, State: "ok", MS: st.Took.Milliseconds()}
	if st.Error != "" {
		b.State = "failed"
		if m := codeInText.FindStringSubmatch(st.Error); m != nil {
			b.Code = vm.Code(m[1])
		}
	}
	if full {
		b.Remark, b.Error = st.Remark, st.Error
	}
	return b
}

func (s *Server) serveConfig(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, typeJSON, s.opt.Config)
}

func (s *Server) serveEvents(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opt.Events)
}

// serveCompose gives the file byte for byte.
func (s *Server) serveCompose(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, typeText, s.opt.Compose)
}

// serveInfo says who this is. The first field is that of existing services; no
// dstack application runs here.
func (s *Server) serveInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"dstack_app_id": "", "service": s.config.Service, "instance_id": s.config.InstanceID, "tee": s.opt.TEE,
		"config_hash": s.digest, "compose_hash": s.config.ComposeHash, "tls_key": s.key.SPKI,
	})
}

// serveUpgrades says where upgrades are decided: on the chain, which everybody
// can ask without loading this machine, and which it could only quote.
func (s *Server) serveUpgrades(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"message": "the key manager's chain decides which images may run this service: ask it for the service's log",
		"service": s.config.Service, "chain_id": s.config.KMS.ChainID, "group_key": s.config.KMS.GroupKey,
		"path": "/kms/v1/services/" + s.config.Service,
	})
}
