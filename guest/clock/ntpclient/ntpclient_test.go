package ntpclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/clock"
)

// server answers on a loopback port as an NTP server does whose clock is off, and
// after alter if there is one (RFC 5905, 7.3: 48 bytes).
func server(t *testing.T, off time.Duration, alter func([]byte) []byte) string {
	t.Helper()
	var lc net.ListenConfig
	c, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(query)
			if err != nil || n < 48 {
				return
			}
			answer := make([]byte, 48)
			answer[0] = 0x24 // no leap second, version 4, server
			answer[1], answer[2], answer[3] = 2, 6, 0xe9
			now := stamp(time.Now().Add(off))
			copy(answer[24:], query[40:48]) // origin: what the client sent
			copy(answer[16:], now)          // reference, receive, transmit
			copy(answer[32:], now)
			copy(answer[40:], now)
			if alter != nil {
				answer = alter(answer)
			}
			_, _ = c.WriteTo(answer, from)
		}
	}()
	return c.LocalAddr().String()
}

// stamp is NTP's: seconds since 1900 and their fraction, 32 bits each.
func stamp(t time.Time) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(t.Unix()+2208988800))
	return binary.BigEndian.AppendUint32(b, uint32(uint64(t.Nanosecond())<<32/1e9))
}

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		name    string
		server  string
		offset  time.Duration
		wantErr bool
	}{
		{"right", server(t, 0, nil), 0, false},
		{"lies by an hour", server(t, time.Hour, nil), time.Hour, false}, // judged by package clock
		{"lies by years", server(t, -8*365*24*time.Hour, nil), -8 * 365 * 24 * time.Hour, false},
		{"answers somebody else", server(t, 0, func(b []byte) []byte { b[24] ^= 1; return b }), 0, true},
		{"has no time itself", server(t, 0, func(b []byte) []byte { b[0] |= 0xc0; return b }), 0, true},
		{"kiss of death", server(t, 0, func(b []byte) []byte { b[1] = 0; return b }), 0, true},
		{"short", server(t, 0, func(b []byte) []byte { return b[:20] }), 0, true},
		{"no such name", "name.invalid", 0, true},
	} {
		a := Ask([]string{tt.server})[0]
		if (a.Error != "") != tt.wantErr || (a.Offset-tt.offset).Abs() > 2*time.Second || a.Server != tt.server {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}

func TestRunSaysRounds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	cancel()
	if err := Run(ctx, []string{server(t, 3*time.Second, nil), "name.invalid"}, &out); err != nil {
		t.Fatal(err)
	}
	var round []clock.Answer
	if err := json.Unmarshal(out.Bytes(), &round); err != nil || len(round) != 2 || round[0].Error != "" || round[1].Error == "" {
		t.Errorf("said %s, %v", out.String(), err)
	}
}
