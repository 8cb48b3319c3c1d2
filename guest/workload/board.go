package workload

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/workload/order"
)

const (
	keptNotes = 256         // that guestd has not asked for yet; older ones are lost
	maxWait   = time.Minute // for something new
)

// board is what guestd learns of the workload whenever there is something new.
type board struct {
	mu      sync.Mutex
	news    order.News
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// change makes a new version of the news.
func (b *board) change(how func(n *order.News)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.news.Version++
	how(&b.news)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// note tells a person something.
func (b *board) note(text string) {
	b.change(func(n *order.News) {
		n.Notes = append(n.Notes[max(0, len(n.Notes)+1-keptNotes):], order.Note{Version: n.Version, Text: text})
	})
}

// state says what the workload does now.
func (b *board) state(word string) {
	b.mu.Lock()
	same := b.news.Workload == word
	b.mu.Unlock()
	if !same {
		b.change(func(n *order.News) { n.Workload = word })
	}
}

// containers says what became of them.
func (b *board) containers(list []Container) {
	b.mu.Lock()
	same := reflect.DeepEqual(b.news.Containers, list)
	b.mu.Unlock()
	if !same {
		b.change(func(n *order.News) { n.Containers = list })
	}
}

// tell answers with what is new.
func (b *board) tell(ctx context.Context, seen order.Seen) (order.News, error) {
	b.mu.Lock()
	if seen.Wait && b.news.Version == seen.Version {
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-time.After(maxWait):
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	news := b.news
	news.Notes = nil
	for _, n := range b.news.Notes {
		if n.Version > seen.Version {
			news.Notes = append(news.Notes, n)
		}
	}
	return news, nil
}
