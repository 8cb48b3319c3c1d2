package node

import (
	"sync"
	"time"

	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
)

// spread sends this node's transactions to all nodes that it is connected with.
// CometBFT's own gossip has every node pass on to every other what it hears: in
// a committee, where all are connected with all, each then gets the same
// evidence three times. What does not arrive is sent again until it is in a
// block, and this node proposes it itself when it is its turn.
type spread struct {
	peers func() []p2p.Peer

	mu     sync.Mutex
	queues map[p2p.ID]chan []byte // of nodes that something is sent to
}

// A node that takes nothing for a while costs a queue and no more.
const (
	maxSpread   = 64 // transactions of a queue
	spreadAgain = 2 * time.Second
	spreadIdle  = 10 * time.Second
)

func newSpread(l *ledger) *spread {
	return &spread{queues: make(map[p2p.ID]chan []byte), peers: func() (out []p2p.Peer) {
		if sw, ok := l.comet.Switch().(*p2p.Switch); ok {
			sw.Peers().ForEach(func(p p2p.Peer) { out = append(out, p) })
		}
		return out
	}}
}

// send queues a transaction for every node. One node gets them in their order,
// which is that of their sequences; none waits for another.
func (s *spread) send(tx []byte) {
	for _, peer := range s.peers() {
		s.mu.Lock()
		queue, ok := s.queues[peer.ID()]
		if !ok {
			queue = make(chan []byte, maxSpread)
			s.queues[peer.ID()] = queue
			go s.serve(peer, queue)
		}
		select {
		case queue <- tx:
		default: // it is sent again
		}
		s.mu.Unlock()
	}
}

// serve empties the queue of a node until there is nothing for a while, or the
// connection is gone.
func (s *spread) serve(peer p2p.Peer, queue chan []byte) {
	idle := time.NewTimer(spreadIdle)
	defer idle.Stop()
	for {
		select {
		case tx := <-queue:
			if peer.Send(p2p.Envelope{ChannelID: mempool.MempoolChannel, Message: &protomem.Txs{Txs: [][]byte{tx}}}) || peer.IsRunning() {
				idle.Reset(spreadIdle)
				continue
			}
		case <-idle.C:
			idle.Reset(spreadIdle)
		}
		s.mu.Lock()
		if len(queue) == 0 || !peer.IsRunning() {
			delete(s.queues, peer.ID())
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}
