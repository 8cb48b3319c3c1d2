package chain

import (
	"fmt"

	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Responses returns the responses of a transaction's n messages, encoded.
func Responses(data []byte, n int) ([][]byte, error) {
	var all sdk.TxMsgData
	if err := proto.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the transaction's result: %w", err)
	}
	if len(all.MsgResponses) != n {
		return nil, fmt.Errorf("read the transaction's result: %d responses, want %d", len(all.MsgResponses), n)
	}
	out := make([][]byte, n)
	for i, r := range all.MsgResponses {
		out[i] = r.Value
	}
	return out, nil
}

// Response reads the response of a transaction's one message from the data of
// its result.
func Response(data []byte, into proto.Message) error {
	one, err := Responses(data, 1)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(one[0], into); err != nil {
		return fmt.Errorf("read the transaction's response: %w", err)
	}
	return nil
}
