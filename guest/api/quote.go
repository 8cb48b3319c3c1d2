package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// answerQuote quotes data of the container's choice, in the domain of workloads.
func (s *Server) answerQuote(r *http.Request) (any, error) {
	values := r.URL.Query()["data"]
	if len(values) != 1 || len(values[0]) > 2*vm.MaxWorkloadData {
		return nil, vm.Refuse(vm.CodeInvalid, "want data=<hex of at most %d bytes>, once", vm.MaxWorkloadData).
			On("data", strconv.Itoa(len(values))+" values", "1").Try("of more, quote the digest")
	}
	data, err := hex.DecodeString(values[0])
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "data is not hex")
	}
	evidence, err := s.quoteAbout(r.Context(), vm.WorkloadReportData(data))
	if err != nil {
		return nil, err
	}
	return guestapi.Quote{Data: hex.EncodeToString(data), Evidence: evidence}, nil
}

// quoteAbout makes one quote at a time, in the order of asking.
func (s *Server) quoteAbout(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, quotePatience)
	defer cancel()
	select {
	case s.quote <- struct{}{}:
		defer func() { <-s.quote }()
	case <-ctx.Done():
		return vm.Evidence{}, errBusy
	}
	evidence, err := s.opt.Quoter.Quote(ctx, reportData)
	if evidence.TEE != vm.SNP { // its report has no register that they explain; Info has them
		evidence.Events = s.opt.Events
	}
	return evidence, err
}
