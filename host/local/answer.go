package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// heard is an answer of the workload.
type heard struct {
	status int
	after  time.Duration // since power-on
}

func (h heard) String() string {
	return fmt.Sprintf("HTTP %d, %.1fs after power-on", h.status, h.after.Seconds())
}

// workload waits until the guest says that its workload runs, and listens
// meanwhile: health checks often hold later than the first good answer.
func (in *Installation) workload(ctx context.Context) (string, error) {
	asking, stop := context.WithCancel(ctx)
	defer stop()
	first := make(chan *heard, 1)
	go func() { first <- in.listen(asking) }()
	remark, err := in.guestStep("workload")(ctx)
	stop()
	in.heard = <-first
	return remark, err
}

// listen asks the first published HTTP port until it gives what it is there
// for; nil when ctx ends before.
func (in *Installation) listen(ctx context.Context) *heard {
	url, _, ok := in.published()
	if !ok {
		return nil
	}
	status, err := firstAnswer(ctx, url, func(status int) bool { return status < http.StatusBadRequest })
	if err != nil {
		return nil
	}
	return &heard{status, in.sincePowerOn()}
}

// answer waits until the first published HTTP port answers, with whatever
// status: what it means is the workload's.
func (in *Installation) answer(ctx context.Context) (string, error) {
	if in.heard != nil {
		return in.heard.String(), nil
	}
	url, service, ok := in.published()
	if !ok {
		return fmt.Sprintf("no HTTP port to ask, %.1fs after power-on", in.sincePowerOn().Seconds()), nil
	}
	ctx, cancel := context.WithDeadline(ctx, in.deadline)
	defer cancel()
	status, err := firstAnswer(ctx, url, func(int) bool { return true })
	if err != nil {
		return "", in.explain(fmt.Errorf("service %s does not answer at %s: %w", service, url, err))
	}
	return heard{status, in.sincePowerOn()}.String(), nil
}

// published is the first HTTP port of the workload.
func (in *Installation) published() (url, service string, ok bool) {
	for _, a := range in.addresses {
		if strings.HasPrefix(a.URL, "http://") {
			return a.URL, a.Service, true
		}
	}
	return "", "", false
}

// Between two questions, and how long one waits. Questions overlap: one that
// was asked while the container's address was not there yet waits for seconds.
const (
	askEvery    = 300 * time.Millisecond
	askPatience = 5 * time.Second
)

// firstAnswer asks url until something answers with a status that will do.
func firstAnswer(ctx context.Context, url string, will func(status int) bool) (status int, err error) {
	client := http.Client{
		Timeout: askPatience,
		// The workload's redirects are the browser's business.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	asking, stop := context.WithCancel(ctx)
	defer stop() // what is still being asked
	type outcome struct {
		status int
		err    error
	}
	outcomes := make(chan outcome)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		go func() {
			status, err := ask(asking, &client, url)
			select {
			case outcomes <- outcome{status, err}:
			case <-asking.Done():
			}
		}()
		for waiting := true; waiting; {
			select {
			case o := <-outcomes:
				if o.err == nil && will(o.status) {
					return o.status, nil
				}
				if err = o.err; err == nil {
					err = fmt.Errorf("it answers %d %s", o.status, http.StatusText(o.status))
				}
			case <-tick.C:
				waiting = false
			case <-ctx.Done():
				return 0, errors.Join(ctx.Err(), err)
			}
		}
	}
}

// ask asks once.
func ask(ctx context.Context, client *http.Client, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 1<<16)
	return response.StatusCode, nil
}
