package clock

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var block = time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)

// moment is a reading of the machine's clock so long after power-on. The host has
// set it wrong by off; what has passed is right.
func moment(on time.Time, passed time.Duration) time.Time { return on.Add(passed) }

// granted are the bounds of a machine that offered its release a second after on
// and heard of the grant so much later.
func granted(on time.Time, wait time.Duration) Bounds {
	return Bounds{Block: block, Offered: moment(on, time.Second), Heard: moment(on, time.Second+wait)}
}

// TestT1_HostsClockIsMoved: whatever the host says, the clock is the block's, and
// what may be right is left alone.
func TestT1_HostsClockIsMoved(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  time.Duration // of the host's clock
		wait time.Duration // for the grant
		want time.Duration // correction
	}{
		{"right", 0, time.Second, 0},
		{"a little behind", -4 * time.Second, time.Second, 0},
		{"behind", -6 * time.Second, time.Second, 6 * time.Second},
		{"years behind", -3 * 365 * 24 * time.Hour, time.Second, 3 * 365 * 24 * time.Hour},
		{"a little ahead", 50 * time.Second, time.Second, 0},
		{"ahead", 2 * time.Minute, time.Second, -2 * time.Minute},
		{"years ahead", 20 * 365 * 24 * time.Hour, time.Second, -20 * 365 * 24 * time.Hour},
		{"answers held back do not make what is behind right", -time.Hour, 30 * time.Second, time.Hour},
		{"ahead by less than answers were held back", 80 * time.Second, 30 * time.Second, 0},
	} {
		now := time.Now()
		b := granted(now.Add(-time.Second-tt.wait), tt.wait)
		got := b.correction(block.Add(tt.off), now)
		if diff := (got - tt.want).Abs(); diff > time.Second {
			t.Errorf("%s: moved by %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestT1_BoundsGrowSlowly: an hour later the clock may be off by what a counter
// drifts, and not by more.
func TestT1_BoundsGrowSlowly(t *testing.T) {
	on := time.Now()
	b := granted(on, 0)
	for _, tt := range []struct {
		passed, off time.Duration
		wantErr     string
	}{
		{0, 0, ""},
		{0, 59 * time.Second, ""},
		{0, 61 * time.Second, "ahead of what the key manager's chain says"},
		{0, -61 * time.Second, "behind what the key manager's chain says"},
		{time.Hour, 60 * time.Second, ""},
		{time.Hour, 61 * time.Second, "ahead"},
		{240 * time.Hour, 2 * time.Minute, ""},
		{240 * time.Hour, 3 * time.Minute, "ahead"},
		{240 * time.Hour, -3 * time.Minute, "behind"},
		{time.Hour, 24 * time.Hour, "24h0m0s ahead"},
	} {
		now := moment(on, time.Second+tt.passed)
		err := b.allows(block.Add(tt.passed+tt.off), now)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("after %v, off by %v: %v, want %q", tt.passed, tt.off, err, tt.wantErr)
		}
	}
}

// TestT1_LyingServers: of a round's answers only those within bounds count, and
// what was ignored is shown.
func TestT1_LyingServers(t *testing.T) {
	right := func() *Clock {
		now := time.Now()
		return &Clock{bounds: Bounds{Block: now.Round(0), Offered: now, Heard: now}, status: Status{Source: FromBlock}}
	}
	second := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	for _, tt := range []struct {
		name    string
		clock   *Clock
		round   []Answer
		offset  time.Duration
		want    bool
		ignored int
		why     string
	}{
		{"one", right(), []Answer{{"a", second(0.2), ""}}, second(0.2), true, 0, ""},
		{"median", right(), []Answer{{"a", second(0.2), ""}, {"b", second(30), ""}, {"c", second(0.1), ""}}, second(0.2), true, 0, ""},
		{"one lies", right(), []Answer{{"a", second(86400), ""}, {"b", second(0.1), ""}}, second(0.1), true, 1, "a: 24h0m0s ahead"},
		{"all lie", right(), []Answer{{"a", second(-3600), ""}, {"b", second(1e6), ""}}, 0, false, 2, "b: 277h46m40s ahead"},
		{"centuries", right(), []Answer{{"a", 1<<63 - 1, ""}, {"b", -1 << 63, ""}}, 0, false, 2, "b: "},
		{"silent", right(), []Answer{{"a", 0, "i/o timeout"}}, 0, false, 0, "a: i/o timeout"},
		{"nobody", right(), nil, 0, false, 0, ""},
		{"no block", new(Clock), []Answer{{"a", 0, ""}}, 0, false, 1, "a: "},
	} {
		now := time.Now()
		offset, ok := tt.clock.judge(tt.round, now)
		s := tt.clock.Status()
		if offset != tt.offset || ok != tt.want || s.Ignored != tt.ignored || !strings.HasPrefix(s.Why, tt.why) || (s.Source == FromServers) != tt.want {
			t.Errorf("%s: %v, %v, %+v", tt.name, offset, ok, s)
		}
	}
}

func TestFollowReadsRounds(t *testing.T) {
	c := &Clock{}
	line, _ := json.Marshal([]Answer{{Server: "a", Error: "away"}})
	for text, wantErr := range map[string]string{
		string(line) + "\n":                      "",
		"":                                       "",
		"nonsense\n":                             "read answers",
		"[" + strings.Repeat(" ", maxRound) + "": "too long",
	} {
		err := c.Follow(strings.NewReader(text))
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("%.20q: %v, want %q", text, err, wantErr)
		}
	}
	if s := c.Status(); s.Why != "a: away" || s.Source != FromHost {
		t.Errorf("status is %+v", s)
	}
}

// TestAfterImageLeavesWhatIsLater: setting the clock needs rights that tests do
// not have; what needs none must not ask for them.
func TestAfterImageLeavesWhatIsLater(t *testing.T) {
	file := filepath.Join(t.TempDir(), "guestd")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, block, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if moved, err := new(Clock).AfterImage(file); moved != 0 || err != nil {
		t.Errorf("moved by %v, %v", moved, err)
	}
	if _, err := new(Clock).AfterImage(file + "x"); err == nil || !strings.Contains(err.Error(), "image was made") {
		t.Errorf("no such file: %v", err)
	}
	if moved, err := new(Clock).Hold(Bounds{}); moved != 0 || err != nil {
		t.Errorf("without a block: %v, %v", moved, err)
	}
}

func FuzzFollow(f *testing.F) {
	f.Add([]byte(`[{"server":"a","offset_ns":5,"error":"x"}]` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := new(Clock) // knows no block: nothing is set
		_ = c.Follow(strings.NewReader(string(b)))
		if s := c.Status(); s.Source != FromHost || len(s.Why) > 1000 {
			t.Errorf("status is %+v", s)
		}
	})
}
