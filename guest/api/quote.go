package api

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/secretvm/secretvm/guest/api/proof"
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
	about := proof.Question{For: proof.ForWorkload, Data: data}
	switch what := query.Get("about"); what {
	case "":
	case guestapi.AboutApplication:
		about.For = proof.ForApplication
	default:
		return nil, vm.Refuse(vm.CodeInvalid, "there is nothing of that name to quote about").On("about", strconv.Quote(what), guestapi.AboutApplication)
	}
	answer, err := s.quote(r.Context(), about)
	quote.Evidence = answer.Evidence
	if err == nil && about.For == proof.ForApplication {
		quote.ApplicationRegister = &answer.Register
		_, quote.ApplicationEvents, err = s.log.read(r.Context(), s.opt.Machine, answer.Events)
	}
	return quote, err
}

func (s *Server) quote(ctx context.Context, about proof.Question) (proof.Answer, error) {
	answer, err := s.opt.Machine.Quote(ctx, about)
	if answer.Evidence.TEE != vm.SNP { // its report has no register that they explain; answerInfo has them
		answer.Evidence.Events = s.opt.Events
	}
	return answer, err
}

// answerEvent adds to the application's log.
func (s *Server) answerEvent(r request) (any, error) {
	if err := s.need(r, vm.GrantEvent); err != nil {
		return nil, err
	}
	var e guestapi.Event
	if err := readJSON(r, &e); err != nil {
		return nil, err
	}
	logged, err := s.opt.Machine.Add(r.Context(), proof.Event{Service: r.service, Name: e.Name, Payload: e.Payload})
	return guestapi.Logged{ApplicationRegister: logged.Register, Events: logged.Events}, err
}
