package workload

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/guest/workload/order"
)

// condition is what a container is for its machine.
type condition int

const (
	good    condition = iota // running and not unhealthy, or finished with status 0
	waiting                  // on its way: being created, restarting, health not known yet
	failed                   // ended with an error, or unhealthy
)

// judge reads a container's state. The listing has health and exit status only
// in the words of Status, which Docker has kept for a decade.
func (c container) judge() condition {
	switch c.State {
	case "running":
		switch {
		case strings.Contains(c.Status, "(unhealthy)"):
			return failed
		case strings.Contains(c.Status, "(health: starting)"):
			return waiting
		}
		return good
	case "exited":
		if strings.HasPrefix(c.Status, "Exited (0)") {
			return good
		}
		return failed
	case "dead":
		return failed
	case "paused":
		return good
	default:
		return waiting
	}
}

// Container is what a person wants to know of a container.
type Container = order.Container

var exitStatus = regexp.MustCompile(`^(?:Exited|Restarting) \((-?[0-9]{1,9})\)`)

func (c container) public() Container {
	out := Container{Name: c.name(), Service: c.service(), State: c.State}
	for word, health := range map[string]string{"(healthy)": "healthy", "(unhealthy)": "unhealthy", "(health: starting)": "starting"} {
		if strings.Contains(c.Status, word) {
			out.Health = health
		}
	}
	if m := exitStatus.FindStringSubmatch(c.Status); m != nil {
		if code, err := strconv.Atoi(m[1]); err == nil {
			out.ExitCode = &code
		}
	}
	return out
}

// maxNamed is how many failed containers a summary names.
const maxNamed = 5

// summary says in one line what became of the containers, the worst first:
// "2 containers", "db failed: Exited (1) …", "waiting for web".
func summary(list []container) (text string, worst condition) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b container) int {
		return cmp.Or(cmp.Compare(b.judge(), a.judge()), strings.Compare(a.service(), b.service()))
	})
	if len(list) == 0 {
		return "no containers", waiting
	}
	healthy := 0
	for _, c := range list {
		if strings.Contains(c.Status, "(healthy)") {
			healthy++
		}
	}
	worst = list[0].judge()
	switch worst {
	case failed:
		var all []string
		for _, c := range list {
			if c.judge() == failed {
				all = append(all, fmt.Sprintf("%s failed: %s", c.service(), c.Status))
			}
		}
		if more := len(all) - maxNamed; more > 0 {
			all = append(all[:maxNamed], fmt.Sprintf("and %d more", more))
		}
		return strings.Join(all, "; "), worst
	case waiting:
		return fmt.Sprintf("waiting for %s: %s", list[0].service(), cmp.Or(list[0].Status, list[0].State)), worst
	}
	text = fmt.Sprintf("%d containers", len(list))
	if len(list) == 1 {
		text = "1 container"
	}
	if healthy > 0 {
		text += fmt.Sprintf(", %d healthy", healthy)
	}
	return text, worst
}
