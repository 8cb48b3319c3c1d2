package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strconv"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	grpctypes "github.com/cosmos/cosmos-sdk/types/grpc"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Paths that are no method's.
const (
	PathOpenAPI = "/openapi.json"
	PathLight   = "/secretvm/light/v1/block" // GET ?height=N, 0 for the newest: LightBlock
)

// Handler serves REST. What it refuses is a vm.Refusal, like everywhere.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+PathOpenAPI, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.openAPI)
	})
	mux.HandleFunc("GET "+PathLight, func(w http.ResponseWriter, r *http.Request) { answer(w, a.light, r) })
	for _, m := range a.methods {
		mux.HandleFunc(m.pattern(), func(w http.ResponseWriter, r *http.Request) {
			answer(w, func(r *http.Request) ([]byte, error) { return a.serve(r, m) }, r)
		})
	}
	return mux
}

// answer writes what f returns, or the refusal that its error is.
func answer(w http.ResponseWriter, f func(*http.Request) ([]byte, error), r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			wire.WriteRefusal(w, fmt.Errorf("%s panicked", r.URL.Path))
		}
	}()
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	b, err := f(r)
	var refusal *vm.Refusal
	switch {
	case err == nil && len(b) > maxAnswer:
		wire.WriteRefusal(w, vm.Refuse(vm.CodeTooLarge, "the answer has more than %d bytes", maxAnswer).Try("ask for a smaller page"))
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	case errors.As(err, &refusal):
		wire.WriteRefusal(w, err)
	default:
		code, text := refusalOf(err)
		wire.WriteJSON(w, code, text)
	}
}

// sourceLine is where in the SDK an error was made.
var sourceLine = regexp.MustCompile(` ?\[[^\]]*\.go:\d+\]`)

// refusalOf makes an answer of an error of the application, which is gRPC's.
func refusalOf(err error) (int, *vm.Refusal) {
	s, _ := status.FromError(err)
	text := fmt.Sprintf("%.500s", sourceLine.ReplaceAllString(s.Message(), ""))
	switch s.Code() {
	case codes.NotFound:
		return http.StatusNotFound, vm.Refuse(vm.CodeInvalid, "%s", text)
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.Unknown: // the SDK's own errors are unknown to gRPC
		return http.StatusBadRequest, vm.Refuse(vm.CodeInvalid, "%s", text)
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests, vm.Refuse(vm.CodeUnavailable, "%s", text)
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return http.StatusServiceUnavailable, vm.Refuse(vm.CodeUnavailable, "%s", text)
	case codes.Unimplemented:
		return http.StatusNotImplemented, vm.Refuse(vm.CodeInvalid, "%s", text)
	}
	return http.StatusInternalServerError, vm.Refuse(vm.CodeInternal, "%s", text)
}

// serve reads a method's request, asks the application, and writes its answer.
func (a *API) serve(r *http.Request, m method) ([]byte, error) {
	request, err := m.body(r)
	if err != nil {
		return nil, err
	}
	in, err := a.message(string(m.desc.Input().FullName()))
	if err != nil {
		return nil, err
	}
	if err := a.app.Codec.UnmarshalJSON(request, in); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "read the request: %.300v", err).Try("see /openapi.json")
	}
	height, err := heightOf(r)
	if err != nil {
		return nil, err
	}
	out, err := a.call(r.Context(), m.full, string(m.desc.Output().FullName()), in, height)
	if err != nil {
		return nil, err
	}
	return a.app.Codec.MarshalJSON(out)
}

// body is a request's JSON, from path and query or from the body.
func (m method) body(r *http.Request) ([]byte, error) {
	if m.verb == http.MethodGet {
		return m.request(r)
	}
	b, err := io.ReadAll(r.Body)
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return nil, vm.Refuse(vm.CodeTooLarge, "the request has more than %d bytes", big.Limit)
	}
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "read the request: %v", err)
	}
	return b, nil
}

// heightOf is the block whose state is asked for; 0 is the newest.
func heightOf(r *http.Request) (int64, error) {
	s := r.Header.Get(grpctypes.GRPCBlockHeightHeader)
	if s == "" {
		return 0, nil
	}
	h, err := strconv.ParseInt(s, 10, 64)
	if err != nil || h < 0 {
		return 0, vm.Refuse(vm.CodeMalformed, "%s: no height", grpctypes.GRPCBlockHeightHeader)
	}
	return h, nil
}

// call asks the application by the route that gRPC has.
func (a *API) call(ctx context.Context, full, answer string, in proto.Message, height int64) (proto.Message, error) {
	route := a.app.GRPCQueryRouter().Route(full)
	if route == nil {
		return nil, fmt.Errorf("%s has no route", full)
	}
	block, err := a.app.CreateQueryContext(height, false)
	if err != nil {
		return nil, err
	}
	b, err := proto.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode the request of %s: %w", full, err)
	}
	res, err := route(block.WithContext(ctx), &abci.RequestQuery{Data: b, Height: height})
	if err != nil {
		return nil, err
	}
	out, err := a.message(answer)
	if err != nil {
		return nil, err
	}
	return out, a.app.Codec.Unmarshal(res.Value, out)
}

// message makes an empty message by its name.
func (a *API) message(name string) (proto.Message, error) {
	t := proto.MessageType(name)
	if t == nil {
		return nil, fmt.Errorf("there is no message %s", name)
	}
	m, ok := reflect.New(t.Elem()).Interface().(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%s is no message", name)
	}
	return m, nil
}
