package endorsement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/vm"
)

// ask is a question with how to put it.
type ask struct {
	question
	urls        []string // in the order of preference
	post        []byte
	contentType string
	limit       int64
	tries       int // 0: as many as the client makes
	read        func(*transport.Answer) (body, chain []byte, err error)
	hint        string // what to do when it cannot be had
}

// fetch asks one service after the other.
func (f *finder) fetch(ctx context.Context, a ask) (Finding, error) {
	if len(a.urls) == 0 {
		return Finding{}, vm.Refuse(vm.CodeUnavailable, "no service is known that has the %s of %s", a.kind, a.subject()).Try(a.hint)
	}
	var failures []error
	for _, u := range a.urls {
		f.Note("%s of %s", a.kind, a.subject())
		found, err := f.fetchFrom(ctx, a, u)
		if err == nil {
			return found, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", withoutQuery(u), err))
		if ctx.Err() != nil {
			break
		}
	}
	return Finding{}, a.refusal(failures)
}

func (f *finder) fetchFrom(ctx context.Context, a ask, u string) (Finding, error) {
	answer, err := f.Client.Do(ctx, transport.Request{URL: u, Post: a.post, ContentType: a.contentType, Limit: a.limit, Tries: a.tries})
	if err != nil {
		return Finding{}, err
	}
	if strings.Contains(answer.ContentType, "html") {
		return Finding{}, errors.New("answered with a web page: is there a portal or a proxy in between?")
	}
	body, chain, err := a.read(answer)
	if err != nil {
		return Finding{}, &nonsense{fmt.Errorf("answered with %s that is no %s: %w", described(answer), a.kind, err)}
	}
	facts, err := a.describe(body)
	if err != nil {
		return Finding{}, &nonsense{fmt.Errorf("answered with something else: %w", err)}
	}
	e := store.Entry{Request: a.String(), Source: u, Fetched: time.Now(), Body: body, Chain: chain}
	return Finding{Entry: e, Facts: facts, From: u}, nil
}

// nonsense is an answer that cannot be read.
type nonsense struct{ error }

func (n *nonsense) Unwrap() error { return n.error }

func described(a *transport.Answer) string {
	kind := a.ContentType
	if kind == "" {
		kind = "no content type"
	}
	return fmt.Sprintf("%d bytes (%.40q)", len(a.Body), kind)
}

// withoutQuery shortens an address for people.
func withoutQuery(u string) string {
	base, _, _ := strings.Cut(u, "?")
	return base
}

// refusal says what was asked, what came, and what to do.
func (a ask) refusal(failures []error) error {
	code, verb := vm.CodeUnavailable, "could not be fetched"
	unknown, odd := 0, 0
	texts := make([]string, len(failures))
	for i, err := range failures {
		texts[i] = err.Error()
		var status *transport.StatusError
		var n *nonsense
		switch {
		case errors.As(err, &status) && status.Code >= 400 && status.Code < 500 && status.Code != 429:
			unknown++
		case errors.As(err, &n):
			odd++
		}
	}
	switch len(failures) { // an outage among them may be the whole reason
	case unknown:
		code, verb = vm.CodeCollateral, "is not known to the service"
	case odd:
		code = vm.CodeMalformed
	}
	return vm.Refuse(code, "%s of %s %s: %s", a.kind, a.subject(), verb, strings.Join(texts, "; ")).Try(a.hint)
}
