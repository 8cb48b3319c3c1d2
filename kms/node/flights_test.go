package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cosmos/gogoproto/proto"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// offered is a release as another node's transaction has it.
func offered(n byte) (*types.MsgRelease, vm.Hash) {
	m := &types.MsgRelease{VmUid: uid, HpkeKey: []byte{n}, SessionKey: []byte{n}, BlockHash: make([]byte, 32)}
	return m, m.Request().GrantID("c")
}

// results is the data of a transaction's result.
func results(t *testing.T, answers ...*types.MsgReleaseResponse) []byte {
	t.Helper()
	var all sdk.TxMsgData
	for _, a := range answers {
		b, err := proto.Marshal(a)
		must(t, err)
		all.MsgResponses = append(all.MsgResponses, &codectypes.Any{Value: b})
	}
	b, err := proto.Marshal(&all)
	must(t, err)
	return b
}

// TestReleaseIsSentOnce: what another node has sent already is not sent again,
// and its asker hears what a second time would have come to.
func TestReleaseIsSentOnce(t *testing.T) {
	first, granted := offered(1)
	second, refused := offered(2)
	_, unknown := offered(3)
	refusal := &types.Refusal{Code: string(vm.CodeCompose), Reason: "another file"}
	for _, c := range []struct {
		name string
		id   vm.Hash
		data []byte
		err  error
		want vm.Code // empty: to be sent
	}{
		{"granted", granted, results(t, &types.MsgReleaseResponse{Grant: &types.Grant{}}, &types.MsgReleaseResponse{}), nil, vm.CodeReplayed},
		{"refused", refused, results(t, &types.MsgReleaseResponse{}, &types.MsgReleaseResponse{Refusal: refusal}), nil, vm.CodeCompose},
		{"not in it", unknown, results(t, &types.MsgReleaseResponse{}, &types.MsgReleaseResponse{}), nil, ""},
		{"it failed", granted, nil, errors.New("out of gas"), ""},
		{"it answers for fewer", granted, results(t, &types.MsgReleaseResponse{Grant: &types.Grant{}}), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			land := make(chan struct{})
			f := &flights{chainID: "c", of: map[vm.Hash]*flight{}, decided: func(context.Context, []byte) ([]byte, error) {
				<-land
				return c.data, c.err
			}}
			f.note([]byte("tx"), []sdk.Msg{first, second})
			time.AfterFunc(20*time.Millisecond, func() { close(land) })
			if err := f.await(t.Context(), c.id); c.want == "" && err != nil || c.want != "" && vm.CodeOf(err) != c.want {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// TestFlightThatNeverLands: a node that makes others wait for nothing costs them
// moments.
func TestFlightThatNeverLands(t *testing.T) {
	m, id := offered(1)
	f := &flights{chainID: "c", of: map[vm.Hash]*flight{}, decided: func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	f.note([]byte("tx"), []sdk.Msg{m})
	begin := time.Now()
	if err := f.await(t.Context(), id); err != nil || time.Since(begin) > awayTolerance+time.Second {
		t.Errorf("%v after %s, want to be sent after %s", err, time.Since(begin), awayTolerance)
	}
	for n := range 2 * maxFlights {
		other, _ := offered(1)
		other.Height = int64(n)
		other.SessionKey = []byte{byte(n), byte(n >> 8), byte(n >> 16)}
		f.note([]byte("tx"), []sdk.Msg{other})
	}
	if len(f.of) > maxFlights {
		t.Errorf("%d are remembered, want at most %d", len(f.of), maxFlights)
	}
}
