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

// answer waits until the first published HTTP port answers, with whatever
// status: what it means is the workload's.
func (in *Installation) answer(ctx context.Context) (string, error) {
	ctx, cancel := context.WithDeadline(ctx, in.deadline)
	defer cancel()
	for _, a := range in.addresses {
		if !strings.HasPrefix(a.URL, "http://") {
			continue
		}
		status, err := firstAnswer(ctx, a.URL)
		if err != nil {
			return "", in.explain(fmt.Errorf("service %s does not answer at %s: %w", a.Service, a.URL, err))
		}
		return fmt.Sprintf("HTTP %d, %.1fs after power-on", status, in.sincePowerOn().Seconds()), nil
	}
	return fmt.Sprintf("no HTTP port to ask, %.1fs after power-on", in.sincePowerOn().Seconds()), nil
}

// firstAnswer asks url until something answers.
func firstAnswer(ctx context.Context, url string) (status int, err error) {
	client := http.Client{
		Timeout: 5 * time.Second,
		// The workload's redirects are the browser's business.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		response, err := client.Do(request)
		if err == nil {
			_, _ = io.CopyN(io.Discard, response.Body, 1<<16)
			response.Body.Close()
			return response.StatusCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
