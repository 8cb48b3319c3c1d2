package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/vm"
)

// examine is what doctor says of this computer.
func examine() doctor.Report { return doctor.Judge(doctor.Gather(os.DirFS("/"), doctor.Look())) }

// refuse says why up starts no machine in a real TEE: what the computer lacks or,
// where it lacks nothing, what up does. Half a machine, which boots and gets no
// keys, would help nobody. Where nothing is lacking it returns nil.
func refuse(tee vm.TEE, report doctor.Report) error {
	const instead = "; use --tee soft, which has real formats and no confidentiality"
	missing := report.Missing(tee)
	if len(missing) == 0 {
		if tee == vm.SNP {
			return fmt.Errorf("--tee %s: this host can run such machines, and the local KMS of up cannot register them yet"+instead, tee)
		}
		return nil
	}
	more := ""
	if len(missing) > 1 {
		more = fmt.Sprintf(", and %d more", len(missing)-1)
	}
	return fmt.Errorf("--tee %s cannot run here: %s: %s%s (try: %s; all of it: secretvm host doctor --tee %s)"+instead,
		tee, missing[0].Name, strings.TrimSuffix(missing[0].Found, "."), more, missing[0].Fix, tee)
}

// home is the root of KMS and machines. A real TEE has one of its own: the KMS of
// soft machines accepts quotes that anybody on this computer can make, and would
// give them the keys of the real ones.
func (o Options) home() string {
	if o.TEE == vm.Soft {
		return o.State
	}
	return filepath.Join(o.State, string(o.TEE))
}

// makeRoot makes the development PKI of the soft TEE on first use. A real TEE has
// its vendor's.
func (in *Installation) makeRoot() (err error) {
	if in.o.TEE == vm.Soft {
		in.trustRoot, err = in.o.TrustRoot(filepath.Join(in.o.State, "pki"))
	}
	return err
}

// kmsHints are the URLs at which the machine finds the KMS.
func (in *Installation) kmsHints() (out []string) {
	urls := in.kmsURLs()
	if len(in.relays) > 0 {
		urls = nil
		for _, r := range in.relays {
			urls = append(urls, "http://127.0.0.1:"+strconv.Itoa(r.port))
		}
	}
	for _, u := range urls {
		out = append(out, forGuest(u))
	}
	return out
}

// kmsURLs are the URLs of the KMS on this computer's side.
func (in *Installation) kmsURLs() []string {
	if in.o.Workload.Settings.Manager != nil {
		return in.o.KMSURLs
	}
	urls := in.kms.urls()
	for _, n := range in.nodes {
		urls = append(urls, n.api)
	}
	return urls
}

// forGuest is a URL of this computer's loopback as a machine's network has it.
func forGuest(url string) string {
	for _, local := range []string{"//127.0.0.1:", "//localhost:"} {
		if before, after, is := strings.Cut(url, local); is {
			return before + "//" + guestGateway + ":" + after
		}
	}
	return url
}

// startRelays stands between machines in a real TEE and the nodes of the KMS.
func (in *Installation) startRelays() error {
	if in.o.TEE == vm.Soft {
		return nil
	}
	for _, u := range in.kms.urls() {
		r, err := startRelay(u, in.o.Complete, in.o.Note)
		if err != nil {
			return err
		}
		in.relays = append(in.relays, r)
	}
	return nil
}
