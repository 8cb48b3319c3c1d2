package verifiers

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/vm"
)

// The bounds: how many times faster than each peer.
const (
	overDCAPQVL    = 10
	overGoTDXGuest = 2
)

// TestSideBySide gives the same evidence to all verifiers in turns, so that
// all see the same machine, and compares medians. It runs with
// `make bench-verify`.
func TestSideBySide(t *testing.T) {
	node := startDCAPQVL(t)
	dev := newBed(t).make(t, nil, nil)
	intel := evidence{
		quote: read(t, "dcap-qvl/sample/tdx_quote"), collateral: readDCAPCollateral(t, "dcap-qvl/sample/tdx_quote_collateral.json"),
		at: time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC),
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "evidence\tverifier\tone verification\tcold attest is faster\tcached attest is faster\t")
	compare(t, table, node, "development PKI", dev, true)
	// go-tdx-guest compares FMSPC by letters and refuses Intel's upper case.
	compare(t, table, node, "Intel, B0C06F", intel, false)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}

// contender is a verifier and the times it took.
type contender struct {
	name   string
	bound  float64 // how many times faster attest has to be, cold
	verify func() float64
	times  []float64
}

func compare(t *testing.T, table *tabwriter.Writer, node dcapQVL, name string, e evidence, withGuest bool) {
	t.Helper()
	ev, o := vm.Evidence{Quote: e.quote, Collateral: &e.collateral}, attest.Options{Time: e.at}
	if e.root != nil {
		o.Roots = []*x509.Certificate{e.root}
	}
	remembering := attest.NewVerifier(attest.CacheOptions{})
	const rounds, each = 60, 10
	timed := func(f func() error) func() float64 {
		return func() float64 {
			begin := time.Now()
			for range each {
				if err := f(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			return float64(time.Since(begin)) / each
		}
	}
	contenders := []*contender{
		{name: "attest, cold", verify: timed(func() error { _, err := attest.Verify(ev, o); return err })},
		{name: "attest, cached", verify: timed(func() error { _, err := remembering.Verify(ev, o); return err })},
		{name: "@phala/dcap-qvl 0.3.9", bound: overDCAPQVL, verify: func() float64 {
			answer := node.verify(t, e, each)
			if answer.Error != "" || answer.Status != "UpToDate" {
				t.Fatalf("%s: dcap-qvl says %+v", name, answer)
			}
			return answer.Nanoseconds
		}},
	}
	if withGuest {
		contenders = append(contenders, &contender{name: "google/go-tdx-guest 0.3.1", bound: overGoTDXGuest, verify: timed(func() error { return goTDXGuest(e) })})
	}
	for round := range rounds {
		for _, c := range contenders {
			if took := c.verify(); round >= rounds/6 { // the first warm up
				c.times = append(c.times, took)
			}
		}
	}
	median := func(c *contender) float64 {
		slices.Sort(c.times)
		return c.times[len(c.times)/2]
	}
	cold, cached := median(contenders[0]), median(contenders[1])
	for _, c := range contenders {
		took := median(c)
		fmt.Fprintf(table, "%s\t%s\t%.0f µs\t%.1f ×\t%.1f ×\t\n", name, c.name, took/1e3, took/cold, took/cached)
		if took/cold < c.bound {
			t.Errorf("%s: attest is %.1f times as fast as %s, want %.0f", name, took/cold, c.name, c.bound)
		}
	}
}
