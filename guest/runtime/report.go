package runtime

import (
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// report sums the boot up on the console, for the person in front of it: what
// this machine is, how it came up or where it failed, and how to check it.
// Everything in it is public; nobody should believe it.
func (m *machine) report(failed error) {
	if m.device == nil { // it failed before there was anything to say; HALT says why
		return
	}
	var steps []string
	var all time.Duration
	for _, st := range m.journal.status().Steps {
		text := fmt.Sprintf("%s %.1fs", st.Name, st.Took.Seconds())
		if st.Error != "" {
			text += " FAILED"
		}
		steps = append(steps, text)
		all += st.Took
	}
	outcome := "complete"
	if failed != nil {
		outcome = "FAILED"
	}
	m.out.Note(fmt.Sprintf("boot %s after %.1fs: %s", outcome, all.Seconds(), strings.Join(steps, ", ")))
	config := m.handover.config
	about := []string{config.Service, "instance " + config.InstanceID, "TEE " + string(m.device.Kind()), "compose sha256 " + config.ComposeHash.String()}
	for _, e := range m.handover.events {
		if e.Name == vm.EventImage {
			about = append(about, fmt.Sprintf("image %x", e.Payload))
		}
	}
	m.out.Note("this is " + strings.Join(about, ", "))
	if m.strangers != nil {
		m.out.Note("attestation service on port 29343, key sha256 " + m.strangers.key.SPKI.String())
	}
}
