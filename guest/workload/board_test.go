package workload

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/guest/workload/order"
)

// TestNewsWaits: who asks for news gets what it has not seen, at once or when
// there is something; what stays as it is, is none.
func TestNewsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b board
		b.note("one")
		b.state(order.Running)
		b.state(order.Running)
		code := 3
		b.containers([]Container{{Name: "a", ExitCode: &code}})
		same := 3
		b.containers([]Container{{Name: "a", ExitCode: &same}})
		news, err := b.tell(t.Context(), order.Seen{Wait: true})
		if err != nil || news.Version != 3 || len(news.Notes) != 1 || news.Notes[0].Text != "one" || news.Workload != order.Running || len(news.Containers) != 1 {
			t.Fatalf("%+v, %v", news, err)
		}
		start := time.Now()
		time.AfterFunc(5*time.Second, func() { b.note("two") })
		news, _ = b.tell(t.Context(), order.Seen{Version: news.Version, Wait: true})
		if time.Since(start) != 5*time.Second || len(news.Notes) != 1 || news.Notes[0].Text != "two" {
			t.Errorf("after %v: %+v", time.Since(start), news)
		}
		start = time.Now()
		if news, _ = b.tell(t.Context(), order.Seen{Version: news.Version}); time.Since(start) != 0 || news.Notes != nil {
			t.Errorf("who does not wait: after %v, %+v", time.Since(start), news)
		}
		if _, _ = b.tell(t.Context(), order.Seen{Version: news.Version, Wait: true}); time.Since(start) != maxWait {
			t.Errorf("nothing new: after %v, want %v", time.Since(start), maxWait)
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _ = b.tell(ctx, order.Seen{Version: news.Version, Wait: true}); time.Since(start) != time.Second {
			t.Errorf("who goes is waited for: %v", time.Since(start))
		}
	})
}

// TestNotesAreBounded: who does not ask for long misses the oldest.
func TestNotesAreBounded(t *testing.T) {
	var b board
	for i := range keptNotes + 10 {
		b.note(fmt.Sprint(i))
	}
	news, _ := b.tell(t.Context(), order.Seen{})
	var texts []string
	for _, n := range news.Notes {
		texts = append(texts, n.Text)
	}
	if len(texts) != keptNotes || !strings.HasPrefix(strings.Join(texts, " "), "10 11 ") {
		t.Errorf("%d notes: %.40q", len(texts), texts)
	}
}
