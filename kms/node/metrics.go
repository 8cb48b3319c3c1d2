package node

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// pathMetrics is open to everybody: what is counted is on the ledger for all to
// read, or about this process; nothing in it names a service or who asked.
const pathMetrics = "/metrics"

// exposition is Prometheus' text format, version 0.0.4.
type exposition struct{ strings.Builder }

// family begins a metric; its values follow.
func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP secretvm_kms_%s %s\n# TYPE secretvm_kms_%s %s\n", name, help, name, kind)
}

// value writes one value, with labels in pairs of name and value. They are our
// own words: %q escapes what can be in them.
func (e *exposition) value(name string, v any, labels ...string) {
	e.WriteString("secretvm_kms_" + name)
	for i := 0; i+1 < len(labels); i += 2 {
		e.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		fmt.Fprintf(e, "%s=%q", labels[i], labels[i+1])
	}
	if len(labels) > 1 {
		e.WriteByte('}')
	}
	fmt.Fprintf(e, " %v\n", v)
}

// one is a metric with one value.
func (e *exposition) one(name, kind, help string, v any) {
	e.family(name, kind, help)
	e.value(name, v)
}

// tally writes a tally as a counter with one label.
func (e *exposition) tally(name, label, help string, t *tally) {
	e.family(name, "counter", help)
	for _, row := range t.rows() {
		e.value(name, row.n, label, row.label)
	}
}

// histogram writes a histogram of seconds.
func (e *exposition) histogram(name, help string, h *histogram) {
	e.family(name, "histogram", help)
	counts, sum := h.read()
	var below uint64
	for i, bound := range bounds {
		below += counts[i]
		e.value(name+"_bucket", below, "le", strconv.FormatFloat(bound, 'g', -1, 64))
	}
	below += counts[len(bounds)]
	e.value(name+"_bucket", below, "le", "+Inf")
	e.value(name+"_sum", sum.Seconds())
	e.value(name+"_count", below)
}

// serveMetrics says how this node and its chain are. What cannot be read yet is
// left out.
func (n *Node) serveMetrics(w http.ResponseWriter, r *http.Request) {
	var e exposition
	n.chainMetrics(r.Context(), &e)
	n.roundMetrics(&e)
	n.workMetrics(&e)
	processMetrics(&e)
	body := e.String()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(body)) // the reader has gone: nobody to tell
}

// chainMetrics are what this node sees of the chain.
func (n *Node) chainMetrics(ctx context.Context, e *exposition) {
	if state, err := n.ledger.Read(); err == nil && state.BlockHeight() > 0 {
		e.one("height", "gauge", "Newest block that this node has.", state.BlockHeight())
		e.one("block_time_seconds", "gauge", "Time of that block, Unix seconds.", float64(state.BlockTime().UnixMilli())/1000)
	}
	one := 1
	if validators, err := n.ledger.local.Validators(ctx, nil, &one, &one); err == nil {
		e.one("validators", "gauge", "Validators of the chain.", validators.Total)
	}
	e.one("peers", "gauge", "Nodes that this one is connected with.", n.ledger.comet.Switch().Peers().Size())
	e.one("mempool_transactions", "gauge", "Transactions that wait for a block.", n.ledger.comet.Mempool().Size())
	e.tally("decisions_total", "result", "Decisions about releases in blocks since this process started, by result.", &n.counts.decisions)
}

// roundMetrics are how the group's secret is shared.
func (n *Node) roundMetrics(e *exposition) {
	ctx, err := n.ledger.Read()
	if err != nil {
		return
	}
	epochs, err := n.ledger.Committee.OpenEpochs(ctx)
	if err != nil {
		return
	}
	groups, err := n.ledger.Committee.Groups(ctx)
	if err != nil {
		return
	}
	e.one("epochs_open", "gauge", "Epochs of which keys are made, or will be.", len(epochs))
	e.one("epochs_ready", "gauge", "Epochs whose key exists.", len(groups))
	held := 0
	for _, g := range groups {
		if _, err := n.keys.of(g); err == nil {
			held++
		}
	}
	e.one("shares_held", "gauge", "Epochs whose present share this node holds.", held)
	if len(epochs) > 0 {
		e.one("epoch", "gauge", "The newest open epoch.", epochs[len(epochs)-1])
	}
	if len(groups) > 0 {
		newest := groups[len(groups)-1]
		e.one("threshold", "gauge", "Nodes that make a key of the newest epoch.", newest.Threshold())
		e.one("holders", "gauge", "Nodes that hold a share of the newest epoch.", len(newest.Members))
		e.one("sharing_round", "gauge", "Round that made the present shares of the newest epoch.", newest.Round)
	}
	round, open, err := n.ledger.Committee.OpenRound(ctx)
	if err != nil {
		return
	}
	e.family("round_phase", "gauge", "1 beside the phase of the round that is under way.")
	for _, phase := range []committee.Phase{committee.PhasePrepare, committee.PhaseDeal, committee.PhaseComplain, committee.PhaseJustify} {
		is := 0
		if open && round.Phase == phase {
			is = 1
		}
		e.value("round_phase", is, "phase", strings.ToLower(strings.TrimPrefix(phase.String(), "PHASE_")))
	}
	if open {
		e.one("round", "gauge", "Number of the round that is under way.", round.Id)
		e.one("round_epoch", "gauge", "Epoch that it makes shares of.", round.Epoch)
	}
}

// workMetrics are what this node does for others.
func (n *Node) workMetrics(e *exposition) {
	e.tally("releases_total", "result", "Releases that machines asked of this node, by result.", &n.counts.releases)
	e.histogram("release_seconds", "Time from a machine's request to its decision, of those of this node.", &n.counts.releaseTime)
	e.tally("partials_total", "result", "Requests for partial keys, by result.", &n.counts.partials)
	e.histogram("partials_seconds", "Time that answers with partial keys took.", &n.counts.partialsTime)
	waiting, flying := n.relay.releases.load()
	e.one("relay_waiting", "gauge", "Releases that wait for a transaction.", waiting)
	e.one("relay_transactions", "gauge", "Transactions with releases that are under way.", flying)
	e.family("requests_total", "counter", "HTTP requests by kind and status; 429 is the rate limit, 503 also what is too much at a time.")
	for _, row := range n.counts.requests.rows() {
		kind, status, _ := strings.Cut(row.label, " ")
		e.value("requests_total", row.n, "kind", kind, "status", status)
	}
	kinds := n.ledger.KMS.Verified()
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	e.family("verification_lookups_total", "counter", "How often a verification looked for what was found genuine before.")
	for _, name := range names {
		e.value("verification_lookups_total", kinds[name].Asked, "of", name)
	}
	e.family("verification_hits_total", "counter", "How often it was there.")
	for _, name := range names {
		e.value("verification_hits_total", kinds[name].Found, "of", name)
	}
}

// started is when this process began.
var started = time.Now()

// processMetrics are about this process.
func processMetrics(e *exposition) {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		e.one("process_cpu_seconds_total", "counter", "Processor time.", time.Duration(usage.Utime.Nano()+usage.Stime.Nano()).Seconds())
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if words := strings.Fields(string(b)); len(words) > 1 {
			if pages, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				e.one("process_resident_memory_bytes", "gauge", "Memory in use.", pages*int64(os.Getpagesize()))
			}
		}
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		e.one("process_open_fds", "gauge", "Open files and connections.", len(files))
	}
	e.one("process_start_time_seconds", "gauge", "Start of this process, Unix seconds.", float64(started.UnixMilli())/1000)
	e.one("goroutines", "gauge", "Goroutines.", runtime.NumGoroutine())
}
