package attestd

import (
	"net/http"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// statusAnswer is the body of /status. The first three fields are those of
// existing services; nothing in it depends on the workload's content.
type statusAnswer struct {
	Status     string     `json:"status"` // "server_alive"
	Time       time.Time  `json:"time"`   // the guest's clock, RFC 3339, a hint
	Env        string     `json:"env"`    // "prod", or "dev" on a soft TEE
	TEE        vm.TEE     `json:"tee"`
	Service    string     `json:"service"`
	UptimeMS   int64      `json:"uptime_ms"`
	Workload   string     `json:"workload,omitempty"`
	Boot       []bootStep `json:"boot"`
	ConfigHash vm.Hash    `json:"config_hash"`
}

// bootStep leaves out remarks and errors, which are for the console.
type bootStep struct {
	Step  string `json:"step"`
	State string `json:"state"` // "ok" or "failed"
	MS    int64  `json:"ms"`
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	status := s.opt.Status()
	answer := statusAnswer{
		Status: "server_alive", Time: time.Now().UTC().Truncate(time.Second), Env: "prod", TEE: s.opt.TEE,
		Service: s.config.Service, UptimeMS: time.Since(s.opt.Booted).Milliseconds(), Workload: status.Workload,
		Boot: []bootStep{}, ConfigHash: s.digest,
	}
	if s.opt.TEE == vm.Soft {
		answer.Env = "dev"
	}
	for _, st := range status.Steps {
		state := "ok"
		if st.Error != "" {
			state = "failed"
		}
		answer.Boot = append(answer.Boot, bootStep{Step: st.Name, State: state, MS: st.Took.Milliseconds()})
	}
	writeJSON(w, http.StatusOK, answer)
}
