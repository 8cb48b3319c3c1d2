package chain

import (
	"errors"
	"fmt"

	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Response reads the response of a transaction's one message from the data of
// its result.
func Response(data []byte, into proto.Message) error {
	var all sdk.TxMsgData
	if err := proto.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("read the transaction's result: %w", err)
	}
	if len(all.MsgResponses) != 1 {
		return errors.New("read the transaction's result: not the response of one message")
	}
	if err := proto.Unmarshal(all.MsgResponses[0].Value, into); err != nil {
		return fmt.Errorf("read the transaction's response: %w", err)
	}
	return nil
}
