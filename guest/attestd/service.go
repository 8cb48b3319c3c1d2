package attestd

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/usage"
	"github.com/secretvm/secretvm/vm"
)

// dataFolder is where the encrypted disk is, of which this process only learns
// how full it is.
const dataFolder = "/data"

// Run is the process of the service: guestd starts it, without rights, and it
// asks guestd for what it tells. It returns when it is stopped.
func Run() error {
	var s attestation.Settings
	ctx, stop, err := ipc.Begin(&s)
	if err != nil {
		return err
	}
	defer stop()
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	samples := &usage.Sampler{Proc: "/proc", Disk: dataFolder}
	go samples.Run(ctx)
	guestd := ipc.Dial(s.Socket, nil)
	opt, err := options(s, guestd)
	if err != nil {
		return err
	}
	opt.Resources = samples.Samples
	server, err := New(opt)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	if _, err := ipc.Ask[struct{}, struct{}](ctx, guestd, attestation.AskReady, struct{}{}); err != nil {
		return err
	}
	return <-ended
}

// options are those of a service that asks guestd.
func options(s attestation.Settings, guestd *ipc.Client) (Options, error) {
	key, err := attestation.ParseKey(s.Key)
	if err != nil {
		return Options{}, err
	}
	config, err := vm.ParseConfig(s.Config)
	if err != nil {
		return Options{}, err
	}
	_, name, _ := strings.Cut(config.Service, "/")
	m := &machine{guestd: guestd, name: name}
	return Options{
		Quotes: m, Key: key, TEE: s.TEE, Measurement: s.Measurement, Config: s.Config, Compose: s.Compose, Events: s.Events,
		Status: m.status, Booted: time.Now().Add(s.Booted - monotonic()), Services: m.services, Logs: m.logs,
	}, nil
}

// monotonic is the kernel's clock that nobody sets.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return time.Duration(t.Nano())
}

// How long guestd may take to answer, how often it is asked the same, and how
// often a log that is followed is read again.
const (
	answerPatience = 5 * time.Second
	statusLife     = 200 * time.Millisecond
	logPause       = 2 * time.Second
)

// machine is guestd to the service.
type machine struct {
	guestd *ipc.Client
	name   string // of the workload

	mu   sync.Mutex
	last attestation.Status
	told time.Time

	kept       sync.Mutex
	collateral *vm.Collateral // what came with a quote last,
	serial     uint64         // and guestd's number for it
}

// Quote implements Quotes.
func (m *machine) Quote(ctx context.Context, q attestation.Question) (attestation.Answer, error) {
	m.kept.Lock()
	have, collateral := m.serial, m.collateral
	m.kept.Unlock()
	q.Have = have
	a, err := ipc.Ask[attestation.Question, attestation.Answer](ctx, m.guestd, attestation.AskQuote, q)
	switch {
	case err != nil || a.Serial == 0:
	case a.Serial == have:
		a.Evidence.Collateral = collateral
	default:
		m.kept.Lock()
		m.serial, m.collateral = a.Serial, a.Evidence.Collateral
		m.kept.Unlock()
	}
	return a, err
}

// status is the same for all who ask within a moment: strangers make no work for
// guestd by asking often. While guestd does not answer, it is the last one.
func (m *machine) status() attestation.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told.IsZero() || time.Since(m.told) > statusLife {
		ctx, cancel := context.WithTimeout(context.Background(), answerPatience)
		defer cancel()
		if s, err := ipc.Ask[struct{}, attestation.Status](ctx, m.guestd, attestation.AskStatus, struct{}{}); err == nil {
			m.last = s
		}
		m.told = time.Now()
	}
	return m.last
}

func (m *machine) services(ctx context.Context) ([]string, error) {
	return ipc.Ask[struct{}, []string](ctx, m.guestd, attestation.AskServices, struct{}{})
}

func (m *machine) logs(ctx context.Context, q LogQuery, each func(string) error) error {
	return read(ctx, func(ctx context.Context, q attestation.LogQuery) (attestation.Log, error) {
		return ipc.Ask[attestation.LogQuery, attestation.Log](ctx, m.guestd, attestation.AskLogs, q)
	}, m.name, q, each)
}

// read gives lines of guestd and of containers, in the order of time and in the
// form of a system's log, and, where they are followed, the lines that come, until
// ctx ends.
func read(ctx context.Context, ask func(context.Context, attestation.LogQuery) (attestation.Log, error), name string, q LogQuery, each func(string) error) error {
	for given := 0; ; {
		log, err := ask(ctx, q.LogQuery)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		for _, l := range log.Lines {
			q.Since = l.Time
			if err := each(l.Time.UTC().Format(time.Stamp) + " " + name + " " + l.Source + ": " + string(l.Text)); err != nil {
				return err
			}
		}
		given += len(log.Lines)
		switch {
		case !q.Follow && (!log.More || given >= q.Lines):
			return nil
		case log.More:
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPause):
		}
	}
}
