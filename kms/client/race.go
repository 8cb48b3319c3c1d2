package client

import (
	"context"
	"sync"
	"time"
)

// hedge is how long one node may take until the next is asked beside it: more
// than a block and a verification take, less than a machine notices. Nodes that
// are busy say so, and are given longer, up to maxHedge: whoever asks another one
// then only makes it as busy.
const (
	hedge    = 400 * time.Millisecond
	maxHedge = 3 * time.Second
)

// heard is what asking one endpoint came to.
type heard[T any] struct {
	endpoint string
	value    T
	err      error
}

// race asks the first width of endpoints at once, and one more whenever one
// fails or none of them has answered for the time of patience. It hands every
// answer to judge, one after the other, until judge is done or all have
// answered; then it ends what is still on its way, and waits for it to end.
func race[T any](ctx context.Context, endpoints []string, width int, patience time.Duration, ask func(ctx context.Context, endpoint string) (T, error), judge func(heard[T]) (done bool)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	answers := make(chan heard[T], len(endpoints)) // nobody who answers late waits
	started, answered := 0, 0
	start := func() {
		if started < len(endpoints) {
			endpoint := endpoints[started]
			started++
			wg.Go(func() {
				v, err := ask(ctx, endpoint)
				answers <- heard[T]{endpoint, v, err}
			})
		}
	}
	for range min(width, len(endpoints)) {
		start()
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for answered < len(endpoints) {
		select {
		case h := <-answers:
			answered++
			if judge(h) {
				return
			}
			if h.err != nil || answered == started {
				start()
			}
		case <-late.C:
			start()
		case <-ctx.Done():
			return
		}
		late.Reset(patience)
	}
}
