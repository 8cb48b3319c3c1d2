package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"

	"github.com/secretvm/secretvm/kms/api"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/kmstest"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/vm"
)

// station is a node that runs until the test ends, with its owner.
type station struct {
	*kmstest.Station
	t *testing.T
}

func newStation(t *testing.T) *station {
	t.Helper()
	return &station{Station: kmstest.Start(t, node.InitOptions{ChainID: "api-1"}), t: t}
}

// do asks as curl would.
func (s *station) do(method, path, body string, into any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.API+path, strings.NewReader(body))
	must(s.t, err)
	res, err := http.DefaultClient.Do(req)
	must(s.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	must(s.t, err)
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return res.StatusCode
}

func (s *station) council(description string) sdk.Msg {
	return &counciltypes.MsgCreateCouncil{Creator: s.Owner.Address, Members: []string{s.Owner.Address}, Threshold: 1, Description: description}
}

// TestREST makes a council with nothing but HTTP, and reads it by page.
func TestREST(t *testing.T) {
	s := newStation(t)
	tx := s.Sign(0, s.council("first"))
	body, err := json.Marshal(map[string]any{"tx_bytes": tx})
	must(t, err)
	var simulated struct {
		GasInfo struct {
			GasUsed string `json:"gas_used"`
		} `json:"gas_info"`
	}
	if code := s.do("POST", "/cosmos/tx/v1beta1/simulate", string(body), &simulated); code != 200 || simulated.GasInfo.GasUsed == "" {
		t.Fatalf("simulate: %d %+v", code, simulated)
	}
	for i := range 3 {
		body, err := json.Marshal(map[string]any{"tx_bytes": s.Sign(uint64(i), s.council("council")), "mode": "BROADCAST_MODE_SYNC"})
		must(t, err)
		var sent struct {
			TxResponse struct {
				Code   int    `json:"code"`
				TxHash string `json:"txhash"`
				RawLog string `json:"raw_log"`
			} `json:"tx_response"`
		}
		if code := s.do("POST", "/cosmos/tx/v1beta1/txs", string(body), &sent); code != 200 || sent.TxResponse.Code != 0 || len(sent.TxResponse.TxHash) != 64 {
			t.Fatalf("broadcast: %d %+v", code, sent)
		}
	}
	type page struct {
		Councils []struct {
			Address string `json:"address"`
		} `json:"councils"`
		Pagination struct {
			NextKey string `json:"next_key"`
			Total   string `json:"total"`
		} `json:"pagination"`
	}
	var first, second page
	for range 200 {
		if s.do("GET", "/secretvm/council/v1/councils?pagination.limit=2&pagination.count_total=true", "", &first); first.Pagination.Total == "3" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	next := strings.NewReplacer("+", "-", "/", "_").Replace(first.Pagination.NextKey)
	if code := s.do("GET", "/secretvm/council/v1/councils?member="+s.Owner.Address, "", &second); code != 200 || len(second.Councils) != 3 {
		t.Errorf("by member: %d %+v", code, second)
	}
	if code := s.do("GET", "/secretvm/council/v1/councils?pagination.key="+next, "", &second); code != 200 || len(first.Councils) != 2 || len(second.Councils) != 1 {
		t.Errorf("pages: %d %+v %+v", code, first, second)
	}
	var account struct {
		Account struct {
			Sequence string `json:"sequence"`
		} `json:"account"`
	}
	if code := s.do("GET", "/cosmos/auth/v1beta1/accounts/"+s.Owner.Address, "", &account); code != 200 || account.Account.Sequence != "3" {
		t.Errorf("account: %d %+v", code, account)
	}
}

// TestRESTRefuses says what is wrong, with the shape of every refusal.
func TestRESTRefuses(t *testing.T) {
	s := newStation(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               vm.Code
	}{
		{"GET", "/secretvm/council/v1/council?address=svm1x", "", 404, vm.CodeInvalid},
		{"GET", "/secretvm/council/v1/council?nothing=1", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/council?address=a&address=b", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/proposal?id=-1", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/proposal?id=99999999999999999999", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/councils?pagination=1", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/councils?pagination.key=!", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/councils?member.x=1", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/councils?pagination.key=AA&pagination.offset=1", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/council/v1/councils?pagination.key=AAAA&pagination.offset=1", "", 400, vm.CodeInvalid},
		{"GET", "/secretvm/light/v1/block?height=x", "", 400, vm.CodeMalformed},
		{"GET", "/secretvm/light/v1/block?height=1000000", "", 503, vm.CodeUnavailable},
		{"POST", "/cosmos/tx/v1beta1/txs", "{", 400, vm.CodeMalformed},
		{"POST", "/cosmos/tx/v1beta1/txs", `{"nothing":1}`, 400, vm.CodeMalformed},
		{"POST", "/cosmos/tx/v1beta1/simulate", `{"tx_bytes":"AAAA"}`, 400, vm.CodeInvalid},
		{"POST", "/cosmos/tx/v1beta1/txs", `{"tx_bytes":"` + strings.Repeat("A", 1<<20) + `"}`, 413, vm.CodeTooLarge},
	} {
		var r vm.Refusal
		if got := s.do(tt.method, tt.path, tt.body, &r); got != tt.status || r.Code != tt.code || r.Reason == "" {
			t.Errorf("%s %s: %d %+v, want %d %s", tt.method, tt.path, got, r, tt.status, tt.code)
		}
	}
	for _, gone := range []string{"/cosmos/tx/v1beta1/txs/00", "/cosmos/base/tendermint/v1beta1/node_info", "/secretvm/none"} {
		if got := s.do("GET", gone, "", nil); got != 404 && got != 405 {
			t.Errorf("%s: %d, want none", gone, got)
		}
	}
}

// TestGRPC asks every kind of service with generated clients, and reflection.
func TestGRPC(t *testing.T) {
	s := newStation(t)
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(s.Encoding.Codec.GRPCCodec())))
	must(t, err)
	defer func() { _ = conn.Close() }()
	sent, err := txtypes.NewServiceClient(conn).BroadcastTx(t.Context(), &txtypes.BroadcastTxRequest{TxBytes: s.Sign(0, s.council("by gRPC")), Mode: txtypes.BroadcastMode_BROADCAST_MODE_SYNC})
	if err != nil || sent.TxResponse.Code != 0 {
		t.Fatalf("broadcast: %v %v", sent, err)
	}
	councils := counciltypes.NewQueryClient(conn)
	var all *counciltypes.QueryCouncilsResponse
	for range 200 {
		all, err = councils.Councils(t.Context(), &counciltypes.QueryCouncilsRequest{Pagination: &query.PageRequest{Limit: 10}})
		must(t, err)
		if len(all.Councils) == 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(all.Councils) != 1 || all.Councils[0].Description != "by gRPC" {
		t.Fatalf("councils are %+v", all)
	}
	if _, err := councils.Proposal(t.Context(), &counciltypes.QueryProposalRequest{Id: 7}); status.Code(err) != codes.NotFound {
		t.Errorf("no such proposal: %v", err)
	}
	if _, err := txtypes.NewServiceClient(conn).TxDecodeAmino(t.Context(), &txtypes.TxDecodeAminoRequest{AminoBinary: []byte{1}}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not served: %v", err)
	}
}

// TestOpenAPI: the document names every method that is served, no other, and
// refers to nothing that is not in it.
func TestOpenAPI(t *testing.T) {
	s := newStation(t)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct {
				Name, In string
			}
		} `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	var raw json.RawMessage
	if code := s.do("GET", api.PathOpenAPI, "", &raw); code != 200 {
		t.Fatalf("openapi: %d", code)
	}
	must(t, json.Unmarshal(raw, &doc))
	if !strings.HasPrefix(doc.OpenAPI, "3.") {
		t.Errorf("version is %q", doc.OpenAPI)
	}
	const prefix = `"#/components/schemas/`
	for rest := raw; ; {
		i := bytes.Index(rest, []byte(prefix))
		if i < 0 {
			break
		}
		rest = rest[i+len(prefix):]
		name, _, _ := strings.Cut(string(rest), `"`)
		if _, ok := doc.Components.Schemas[name]; !ok {
			t.Errorf("refers to schema %s, which is not there", name)
		}
	}
	operations := 0
	for path, methods := range doc.Paths {
		for verb, op := range methods {
			operations++
			for _, p := range op.Parameters {
				if p.In == "path" {
					path = strings.ReplaceAll(path, "{"+p.Name+"}", "1")
				}
			}
			// Whatever is asked for so, it is a method: never 404 without a refusal.
			var r vm.Refusal
			code := s.do(strings.ToUpper(verb), path, "", &r)
			if code == http.StatusMethodNotAllowed || code == http.StatusInternalServerError || code >= 400 && r.Code == "" {
				t.Errorf("%s %s: %d %+v", verb, path, code, r)
			}
			time.Sleep(40 * time.Millisecond) // the node bounds how often it is asked
		}
	}
	for _, want := range []string{"/secretvm/council/v1/proposals", "/cosmos/tx/v1beta1/txs", "/cosmos/auth/v1beta1/accounts/{address}", api.PathLight} {
		if doc.Paths[want] == nil {
			t.Errorf("%s is missing", want)
		}
	}
	t.Logf("%d operations, %d schemas, %d bytes", operations, len(doc.Components.Schemas), len(raw))
}

// TestLightBlock: a light block proves itself.
func TestLightBlock(t *testing.T) {
	s := newStation(t)
	var l api.LightBlock
	if code := s.do("GET", api.PathLight+"?height=1", "", &l); code != 200 || l.Height != 1 {
		t.Fatalf("light block: %d %+v", code, l)
	}
	var p cmtproto.LightBlock
	must(t, p.Unmarshal(l.Block))
	block, err := cmttypes.LightBlockFromProto(&p)
	must(t, err)
	must(t, block.ValidateBasic("api-1"))
	must(t, block.ValidatorSet.VerifyCommit("api-1", block.Commit.BlockID, 1, block.Commit))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
