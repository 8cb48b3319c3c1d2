package page

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// meanings says what each refusal code means to the reader of a log. A test
// holds it against package vm.
var meanings = map[vm.Code]string{
	vm.CodeMalformed:   "The request was not in the format that it claimed to be in.",
	vm.CodeTooLarge:    "The request was larger than the chain reads.",
	vm.CodeSignature:   "A signature in the evidence does not hold: it was not made by the key that it names.",
	vm.CodeChain:       "The evidence does not end in a root that this chain accepts. Either no processor made it, or one of a maker that the chain does not trust.",
	vm.CodeRevoked:     "The processor's maker has revoked a certificate that the evidence rests on.",
	vm.CodeExpired:     "The evidence, or what the maker says of the platform, is out of date.",
	vm.CodeTCB:         "The platform is genuine but lacks updates that the service's policy asks for.",
	vm.CodeQEIdentity:  "The quoting enclave is not Intel's, or is too old.",
	vm.CodeModule:      "The TDX module is not one that Intel lists.",
	vm.CodeDebug:       "The machine can be debugged, so its host can read its memory. No policy allows that.",
	vm.CodeAttributes:  "The machine was launched with features that are not allowed.",
	vm.CodeHardware:    "The processor is genuine and not on the service's list.",
	vm.CodeCollateral:  "What the maker says of the platform is missing, or belongs to another quote.",
	vm.CodeEvents:      "The list of events does not explain what the machine measured.",
	vm.CodeGPU:         "GPUs or switches are not those that are wanted.",
	vm.CodeGPUMeasured: "A GPU measures something else than its maker published.",
	vm.CodeDevImage:    "The image is one for development: its operator may run commands in the machine.",
	vm.CodeReportData:  "The quote is about another request: it may have been copied.",
	vm.CodeStale:       "The request names a block that is unknown or too old.",
	vm.CodeReplayed:    "The very same request was decided before.",
	vm.CodeNoService:   "There is no such service.",
	vm.CodeImage:       "What the machine runs is no image of this service: another firmware, kernel, system or compose file.",
	vm.CodePending:     "The image was announced, and has to wait for the upgrade delay.",
	vm.CodeRetired:     "The owner has revoked the image that the machine runs.",
	vm.CodeConfig:      "The machine's configuration is not the one that it measured, or not one for this chain.",
	vm.CodeCompose:     "The compose file is not the one that is registered.",
	vm.CodePolicy:      "The machine is genuine, and not what the service's policy accepts.",
	vm.CodePermission:  "The request asks for something that this machine may not have.",
	vm.CodeExists:      "It is there already, and is never replaced.",
	vm.CodeFrozen:      "The service is frozen.",
	vm.CodeInvalid:     "A value in the request has no meaning.",
	vm.CodeUnavailable: "It could not be decided then.",
	vm.CodeInternal:    "The chain failed to decide; nothing was released.",
}

func meaning(code string) string {
	if m, ok := meanings[vm.Code(code)]; ok {
		return m
	}
	return "A reason that this page does not know."
}

// deeds says what owners do, in words.
var deeds = map[string]string{
	types.ChangeCreate:   "Service registered",
	types.ChangeAdd:      "Image added",
	types.ChangeRevoke:   "Image revoked",
	types.ChangePolicy:   "Policy changed",
	types.ChangeFreeze:   "Service frozen",
	types.ChangeSeal:     "Sealed content changed",
	types.ChangeTransfer: "Service given to another owner",
	types.ChangeRollback: "Rollback of a disk accepted",
}

func deed(kind string) string {
	if d, ok := deeds[kind]; ok {
		return d
	}
	return kind
}

// readable takes out of a page what would let one text pass for another: control
// characters, and those that turn the direction of writing or do not show.
func readable(page []byte) []byte {
	return bytes.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, bytes.ToValidUTF8(page, []byte("\uFFFD")))
}

// clock writes Unix seconds for people, always in the same time zone.
func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") }

// machineClock is the same for programs.
func machineClock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// maxSpan is the longest that is written in days, in seconds.
const maxSpan = 1 << 40

// span writes seconds in the two largest units that they have: "1 d 23 h".
func span(seconds uint64) string {
	if seconds > maxSpan {
		return fmt.Sprintf("%d s", seconds)
	}
	var parts []string
	for _, unit := range []struct {
		size uint64
		name string
	}{{24 * 60 * 60, "d"}, {60 * 60, "h"}, {60, "min"}, {1, "s"}} {
		if n := seconds / unit.size; n > 0 && len(parts) < 2 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
		} else if len(parts) > 0 {
			break
		}
		seconds %= unit.size
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, " ")
}

// left is the time until something, as "in 1 d 23 h".
func left(at, now int64) string {
	if at <= now {
		return "now"
	}
	return "in " + span(uint64(at-now))
}
