package verifier

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/policy"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/vm"
)

// Call is one operation, with the bytes that it works on and its options.
type Call struct {
	Operation string            // a key of operations
	Input     []byte            // at most MaxInput
	Fields    map[string][]byte // by name, each at most MaxField(name)
	Now       time.Time         // the caller's clock
}

// MaxInput bounds the bytes that one operation works on.
const MaxInput = verification.MaxBundleSize

// maxFields bounds the options; what is not named here is none.
var maxFields = map[string]int{
	"compose": 4 << 20, "files": 32 << 20, "manifest": 4 << 20, "policy": policy.MaxSize, "roots": 256 << 10, "collateral": 1 << 20, "registry": 4 << 20,
	"service": 1 << 10, "group_key": 1 << 10, "time": 64, "trust_bundle_roots": 8,
	"url": 4 << 10, "nonce": 2 * vm.MaxNonceSize, "took_ms": 16, "config": vm.MaxConfigSize,
}

// repeated are the options that may be several files: the second is name_2.
var repeated = map[string]int{"collateral": 4, "registry": 4}

// MaxField returns the bound of one option, in bytes; 0 if there is none of
// that name.
func MaxField(name string) int {
	if base, number, found := strings.Cut(name, "_"); found {
		if n, err := strconv.Atoi(number); err == nil && n >= 2 && n <= repeated[base] && strconv.Itoa(n) == number {
			name = base
		}
	}
	return maxFields[name]
}

// files returns an option that may be several files.
func (c Call) files(name string) (files [][]byte) {
	if b := c.Fields[name]; b != nil {
		files = append(files, b)
	}
	for n := 2; n <= repeated[name]; n++ {
		if b := c.Fields[name+"_"+strconv.Itoa(n)]; b != nil {
			files = append(files, b)
		}
	}
	return files
}

// result is what an operation returns; one field is set, Text and Facts along with Report.
type result struct {
	Report   *verification.Report `json:"report,omitempty"`
	Text     string               `json:"text,omitempty"`  // of the report, for people
	Facts    string               `json:"facts,omitempty"` // what was learnt, for people
	Contents *Contents            `json:"contents,omitempty"`
	Shown    *exhibit.Exhibit     `json:"shown,omitempty"`
	Address  string               `json:"address,omitempty"`
	Refusal  *vm.Refusal          `json:"refusal,omitempty"`
}

var operations = map[string]func(Call) (result, error){
	"bundle":     judgeBundle,
	"contents":   listBundle,
	"show":       showAnything,
	"evidence":   judgeEvidence,
	"address":    readAddress,
	"answer":     judgeAnswer,
	"unanswered": reportUnanswered,
}

// Run performs c and returns its result as JSON: {"report":…,"text":…,"facts":…},
// {"contents":…}, {"shown":…}, {"address":…}, or {"refusal":…} when c cannot be carried out.
// Evidence that is not accepted is a report. Whatever goes wrong inside
// is a refusal too, with vm.CodeInternal.
func Run(c Call) []byte {
	r, err := run(c)
	if err != nil {
		r = result{Refusal: refusalOf(err)}
	}
	b, err := json.Marshal(r)
	if err != nil { // only a bug in the types above
		return []byte(`{"refusal":{"code":"internal","reason":"the result could not be encoded"}}`)
	}
	return b
}

func run(c Call) (r result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = vm.Refuse(vm.CodeInternal, "the verifier failed: %.200v", p).Try("please report this, with the input")
		}
	}()
	operation := operations[c.Operation]
	if operation == nil {
		return result{}, vm.Refuse(vm.CodeInvalid, "there is no operation %.40q", c.Operation)
	}
	if len(c.Input) > MaxInput {
		return result{}, TooLarge("the input", len(c.Input), MaxInput)
	}
	for name, value := range c.Fields {
		limit := MaxField(name)
		if limit == 0 {
			return result{}, vm.Refuse(vm.CodeInvalid, "there is no option %.40q", name)
		}
		if len(value) > limit {
			return result{}, TooLarge(name, len(value), limit)
		}
	}
	return operation(c)
}

// TooLarge is the refusal of something over its bound, in bytes.
func TooLarge(what string, size, limit int) *vm.Refusal {
	return vm.Refuse(vm.CodeTooLarge, "%s is too large", what).On(what, fmt.Sprintf("%d bytes", size), fmt.Sprintf("at most %d", limit))
}
