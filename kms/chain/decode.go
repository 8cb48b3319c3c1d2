package chain

import (
	"container/list"
	"crypto/sha256"
	"sync"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/auth/signing"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// decoder decodes transactions, and remembers the newest with releases by the
// hash of all their bytes. A node sees each of them up to three times: when it
// comes, while it waits for a block, and in its block. Decoding depends on
// nothing but the bytes, so that it says the same with or without memory; and a
// release only reads its message.
type decoder struct {
	decode sdk.TxDecoder

	mu     sync.Mutex
	known  map[vm.Hash]*list.Element // of decoded
	recent list.List                 // most recently used first
	bytes  int                       // of the transactions that are known
}

// maxDecoded bounds what is remembered, by the bytes of the transactions; in
// memory they take several times as many.
const maxDecoded = 2 << 20

type decoded struct {
	hash  vm.Hash
	bytes int
	tx    sdk.Tx
}

// Decode is an sdk.TxDecoder.
func (d *decoder) Decode(b []byte) (sdk.Tx, error) {
	hash := vm.Hash(sha256.Sum256(b))
	d.mu.Lock()
	defer d.mu.Unlock()
	if element, ok := d.known[hash]; ok {
		d.recent.MoveToFront(element)
		return element.Value.(decoded).tx, nil
	}
	tx, err := d.decode(b)
	if err != nil || !releases(tx) {
		return tx, err
	}
	spell(tx)
	if len(b) > maxDecoded {
		return tx, nil
	}
	// What a transaction works out when it is first asked, it works out here:
	// several may read it from now on.
	if signed, ok := tx.(signing.SigVerifiableTx); !ok {
		return tx, nil
	} else if _, err := signed.GetSigners(); err != nil {
		return tx, nil // as without memory: it is for the ante handler to say so
	}
	for d.bytes += len(b); d.bytes > maxDecoded; {
		oldest := d.recent.Remove(d.recent.Back()).(decoded)
		delete(d.known, oldest.hash)
		d.bytes -= oldest.bytes
	}
	d.known[hash] = d.recent.PushFront(decoded{hash, len(b), tx})
	return tx, nil
}

// releases reports whether all messages of a transaction are releases.
func releases(tx sdk.Tx) bool {
	msgs := tx.GetMsgs()
	for _, m := range msgs {
		if _, ok := m.(*types.MsgRelease); !ok {
			return false
		}
	}
	return len(msgs) > 0
}

// spell writes out what a transaction says once: a release without collateral
// has that of the release before it. Machines of one vendor show the same, and
// it is more than half of what they show. It is public and proves itself, so that
// it may come from whomever.
func spell(tx sdk.Tx) {
	var last *types.Collateral
	for _, m := range tx.GetMsgs() {
		release, ok := m.(*types.MsgRelease)
		switch {
		case !ok:
		case release.Collateral != nil:
			last = release.Collateral
		case release.Amd == nil:
			release.Collateral = last
		}
	}
}
