// Package ntpclient asks time servers (NTP, RFC 5905) what time it is, and says
// what they answer: a line a round, as package clock reads it. It runs in a process
// of its own that may change nothing, since what it reads comes from anybody.
package ntpclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/beevik/ntp"

	"github.com/secretvm/secretvm/guest/clock"
)

const (
	wait    = 5 * time.Second
	between = 1024 * time.Second // rounds, as NTP's clients have it at rest
	again   = time.Minute        // after a round without an answer
)

// Run asks the servers, now and again, until ctx ends.
func Run(ctx context.Context, servers []string, out io.Writer) error {
	for {
		round := Ask(servers)
		line, err := json.Marshal(round)
		if err != nil {
			return fmt.Errorf("encode answers: %w", err)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("tell answers: %w", err)
		}
		pause := again
		for _, a := range round {
			if a.Error == "" {
				pause = between
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Ask asks all servers at once, each a host with or without a port.
func Ask(servers []string) []clock.Answer {
	round := make([]clock.Answer, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() { round[i] = ask(server) })
	}
	wg.Wait()
	return round
}

func ask(server string) clock.Answer {
	a := clock.Answer{Server: server}
	response, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: wait, GetSystemTime: time.Now, Dialer: dial})
	if err == nil {
		err = response.Validate()
	}
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Offset = response.ClockOffset
	return a
}

// dial takes names that have addresses of both families, and the port that the
// library puts behind names without one.
func dial(_, remote string) (net.Conn, error) { return net.DialTimeout("udp", remote, wait) }
