// Package certificate gets certificates of a public authority (RFC 8555) for
// the machine's names, and renews them: one for the attestation service, whose
// key lives as long as the boot, and one for the workload, whose key and
// account lie on the encrypted disk.
//
// Nothing waits for an authority, and nothing that attestation shows rests on
// one: while there is no certificate, the keys are used with certificates that
// they have signed themselves. An authority that lies, or is lied to, can
// refuse certificates, or give others to other people; never keys.
package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/secretvm/secretvm/vm"
)

// Holder has a private key that certificates are to be for.
type Holder interface {
	// Request returns a request for names (PKCS #10, DER) that the key signed.
	Request(names []string) ([]byte, error)
	// Install begins to show a chain (DER, leaf first) that names the key of
	// the last request.
	Install(chain [][]byte) error
}

// Options is what a Keeper needs.
type Options struct {
	Config      vm.ACME
	Attestation Holder       // the attestation service
	Disk        string       // folder on the encrypted disk
	Shared      string       // folder in memory that containers may mount: cert.pem and key.pem
	Note        func(string) // tells a person
	Changed     func()       // what Status says may have changed; nil: nobody wants to know

	Listen func(context.Context) (net.Listener, error) // at the challenge's port, where the authority asks
}

// Times between attempts. Let's Encrypt lets a name fail five times an hour.
const (
	firstPause = time.Minute // doubled before it is waited
	longest    = 12 * time.Hour
	patience   = 5 * time.Minute // for one certificate
)

// Let's Encrypt gives five certificates for the same names a week. That of the
// attestation service is another one at every boot: these are left to boots,
// the others to the workload, which keeps its own.
const (
	bootsPerWeek = 3
	week         = 7 * 24 * time.Hour
)

// entry is one certificate that is kept.
type entry struct {
	Shown
	holder Holder
	due    time.Time // when the next is to be ordered
}

// Keeper keeps the certificates.
type Keeper struct {
	o       Options
	account *ecdsa.PrivateKey
	folder  string // on the disk, for this authority and these names
	pause   time.Duration

	failures int         // in a row
	boots    []time.Time // when the attestation service got certificates

	serving atomic.Bool
	offers  sync.Map // answers to challenges: strings by path (http-01), *tls.Certificate by name (tls-alpn-01)

	mu      sync.Mutex
	status  Status // but for the certificates
	entries []*entry
}

// New reads what the disk holds, and puts a key and a certificate, if need be
// one that the key has signed itself, where containers find them. It asks
// nobody. Errors are those of the disk.
func New(o Options) (*Keeper, error) {
	if o.Changed == nil {
		o.Changed = func() {}
	}
	k := &Keeper{o: o, pause: firstPause, status: Status{Names: o.Config.Names, CA: o.Config.CA}}
	k.folder = filepath.Join(o.Disk, fmt.Sprintf("%.16s", vm.HashOf(fmt.Append(nil, o.Config.CA, o.Config.Names))))
	err := errors.Join(os.MkdirAll(k.folder, 0o700), os.MkdirAll(o.Shared, 0o755))
	if err == nil {
		err = k.loadAccount(filepath.Join(o.Disk, "account.pem"))
	}
	if err == nil && len(o.Config.Services) > 0 { // first: boots can wait
		w := &workload{file: filepath.Join(k.folder, "workload.pem"), shared: o.Shared}
		k.entries = append(k.entries, &entry{Shown: Shown{Of: "workload"}, holder: w})
		err = w.open(k.entries[0], o.Config.Names)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare certificates: %w", err)
	}
	k.entries = append(k.entries, &entry{Shown: Shown{Of: "attestation"}, holder: o.Attestation})
	k.readBoots(k.entries[len(k.entries)-1])
	return k, nil
}

// Run orders what is due until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(k.round(ctx)):
		}
	}
}

// round orders what is due, one certificate after the other, and returns how
// long there is nothing to do.
func (k *Keeper) round(ctx context.Context) time.Duration {
	tried, err := k.entries[0], k.listen(ctx)
	next := time.Hour // clocks are set now and then
	for _, e := range k.entries {
		if err == nil && !time.Now().Before(e.due) {
			tried, err = e, k.renew(ctx, e)
		}
		next = min(next, time.Until(e.due))
	}
	if err != nil {
		return k.failed(ctx, tried, err)
	}
	k.failures = 0
	return max(next, k.pause)
}

// renew orders one certificate, and begins to use it.
func (k *Keeper) renew(ctx context.Context, e *entry) error {
	defer k.o.Changed()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	csr, err := e.holder.Request(k.o.Config.Names)
	if err != nil {
		return err
	}
	chain, err := k.order(ctx, csr)
	if err != nil {
		return err
	}
	leaf, err := check(chain, k.o.Config.Names)
	if err == nil {
		err = e.holder.Install(chain)
	}
	if err != nil {
		return fmt.Errorf("the authority's certificate: %w", err)
	}
	k.mu.Lock()
	e.show(leaf)
	k.mu.Unlock()
	k.o.Note(fmt.Sprintf("certificate of %s by %s, until %s", e.Of, e.Issuer, e.NotAfter.Format(time.DateOnly)))
	if e.holder == k.o.Attestation {
		return k.writeBoots()
	}
	return nil
}

// show is called with what came from the authority. The next is ordered after
// two thirds of its life, a little earlier or later so that machines do not all
// ask at once.
func (e *entry) show(leaf *x509.Certificate) {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	e.due = leaf.NotBefore.Add(life/10*6 + rand.N(life/10+1))
	e.Shown = Shown{Of: e.Of, Public: true, Key: vm.HashOf(leaf.RawSubjectPublicKeyInfo), Issuer: leaf.Issuer.CommonName, NotAfter: leaf.NotAfter.UTC()}
}

// failed notes why, and returns how long to wait.
func (k *Keeper) failed(ctx context.Context, e *entry, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	k.failures++
	wait := min(k.pause<<min(k.failures, 20), longest)
	var problem *acme.Error
	if errors.As(err, &problem) {
		retryAfter, _ := acme.RateLimit(problem)
		wait = max(wait, min(retryAfter, week))
	}
	wait += rand.N(wait/4 + 1) // machines that failed together do not come back together
	k.mu.Lock()
	e.Error = explain(err)
	k.mu.Unlock()
	k.o.Changed()
	k.o.Note(fmt.Sprintf("no certificate of %s, again in %v: %s", e.Of, wait.Round(time.Second), e.Error))
	return wait
}

// readBoots finds out whether the attestation service may have a certificate
// now. The list is a courtesy to the workload: without it nothing is lost.
func (k *Keeper) readBoots(e *entry) {
	if b, err := os.ReadFile(filepath.Join(k.folder, "boots.json")); err == nil {
		_ = json.Unmarshal(b, &k.boots)
	}
	k.boots = slices.DeleteFunc(k.boots, func(t time.Time) bool { return time.Since(t) > week })
	if over := len(k.boots) - bootsPerWeek; over >= 0 {
		e.due = k.boots[over].Add(week)
		e.Error = fmt.Sprintf("%d certificates in a week are enough: authorities bound them for a name, and the rest is left to the workload", bootsPerWeek)
	}
}

func (k *Keeper) writeBoots() error {
	k.boots = append(k.boots, time.Now().UTC())
	b, _ := json.Marshal(k.boots) // times always encode
	return replace(filepath.Join(k.folder, "boots.json"), b, 0o600)
}
