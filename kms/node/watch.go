package node

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	cmtlog "github.com/cometbft/cometbft/libs/log"

	"github.com/secretvm/secretvm/vm"
)

// lastWords says why consensus ended. CometBFT ends it when something happens that
// must not, a full disk for one: it writes that to its log and nowhere else, and
// the process around it lives on without making another block.
type lastWords chan string

// consensusFailure is the message that CometBFT logs then.
const consensusFailure = "CONSENSUS FAILURE!!!"

// watched is a logger that tells a failure of the last words of consensus.
type watched struct {
	cometLogger
	said lastWords
}

var _ cmtlog.Logger = watched{}

func (l watched) With(kv ...any) cmtlog.Logger {
	return watched{cometLogger{l.Logger.With(kv...)}, l.said}
}

func (l watched) Error(msg string, kv ...any) {
	if msg == consensusFailure && len(kv) > 1 {
		select {
		case l.said <- fmt.Sprintf("%.1000v", kv[1]):
		default: // there is something to say already
		}
	}
	l.Logger.Error(msg, kv...)
}

// room is what to do about a full disk.
const room = "make room on the disk of --home and start kmsd again; it goes on where it was"

// ended is the error of a node whose consensus ended for a reason.
func ended(reason string) error {
	refusal := vm.Refuse(vm.CodeInternal, "this node has stopped to take part in consensus: %s", reason)
	switch {
	case strings.Contains(reason, "no space left"), strings.Contains(reason, "file too large"), strings.Contains(reason, "quota exceeded"):
		return refusal.Try(room)
	case strings.Contains(reason, "too far in the future"):
		return refusal.Try(setClock)
	}
	return refusal.Try("start kmsd again; if it stops in the same way at the same block, look for a newer kmsd")
}

// ahead is by how much a clock may be behind the beginning of a chain.
const ahead = 10 * time.Second

// begun refuses to run a chain that begins in the future: CometBFT would sleep
// until then, also when the clock has long been set. No chain is made so.
func begun(genesis, now time.Time) error {
	if genesis.Sub(now) <= ahead {
		return nil
	}
	return vm.Refuse(vm.CodeInvalid, "the chain began at %s, and by this computer's clock it is %s", genesis.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).Try(setClock)
}

// setClock is what to do about a wrong clock.
const setClock = "set this computer's clock and start kmsd again; it goes on where it was"

// unopened is the error of a home whose state cannot be opened.
func unopened(home Home, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN): // it is locked
		return fmt.Errorf("open the chain's state (is another kmsd running on %s?): %w", home, err)
	case errors.Is(err, syscall.ENOSPC):
		return vm.Refuse(vm.CodeInternal, "open the chain's state: %v", err).Try(room)
	}
	return fmt.Errorf("open the chain's state: %w", err)
}
