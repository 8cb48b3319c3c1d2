package api

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// answerQuote quotes data of the container's choice, in the domain of workloads,
// or in that of the application's log with its register.
func (s *Server) answerQuote(r request) (any, error) {
	if err := s.need(r, vm.GrantQuote); err != nil {
		return nil, err
	}
	query := r.URL.Query()
	values := query["data"]
	if len(values) != 1 || len(values[0]) > 2*vm.MaxWorkloadData {
		return nil, vm.Refuse(vm.CodeInvalid, "want data=<hex of at most %d bytes>, once", vm.MaxWorkloadData).
			On("data", strconv.Itoa(len(values))+" values", "1").Try("of more, quote the digest")
	}
	data, err := hex.DecodeString(values[0])
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "data is not hex")
	}
	quote := guestapi.Quote{Data: hex.EncodeToString(data)}
	reportData := vm.WorkloadReportData(data)
	switch about := query.Get("about"); about {
	case "":
	case guestapi.AboutApplication:
		register, events := s.log.read()
		quote.ApplicationRegister, quote.ApplicationEvents = &register, events
		reportData = vm.ApplicationReportData(register, data)
	default:
		return nil, vm.Refuse(vm.CodeInvalid, "there is nothing of that name to quote about").On("about", strconv.Quote(about), guestapi.AboutApplication)
	}
	quote.Evidence, err = s.quote(r.Context(), reportData)
	return quote, err
}

func (s *Server) quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	evidence, err := s.quotes.Quote(ctx, reportData)
	if evidence.TEE != vm.SNP { // its report has no register that they explain; answerInfo has them
		evidence.Events = s.opt.Events
	}
	return evidence, err
}
