package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on what an authority says.
const (
	maxAnswer     = 1 << 20
	answerTimeout = 30 * time.Second
	maxRetries    = 5
)

// client speaks with the authority as the machine's account.
func (k *Keeper) client() (*acme.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if roots := k.o.Config.Roots; roots != "" {
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM([]byte(roots)) {
			return nil, errors.New("the measured roots hold no certificate")
		}
	}
	return &acme.Client{
		Key: k.account, DirectoryURL: k.o.Config.CA, UserAgent: "secretvm",
		// No proxy, no connection that outlives an order.
		HTTPClient: &http.Client{Timeout: answerTimeout, Transport: bounded{&http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}},
		RetryBackoff: func(n int, _ *http.Request, resp *http.Response) time.Duration {
			if n > maxRetries || resp.StatusCode == http.StatusTooManyRequests {
				return -1 // failed waits longer than a request should
			}
			return 100 * time.Millisecond << n
		},
	}, nil
}

// bounded cuts answers off that are larger than any should be.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// order gets a chain for a request.
func (k *Keeper) order(ctx context.Context, csr []byte) ([][]byte, error) {
	client, err := k.client()
	if err != nil {
		return nil, err
	}
	if err := k.register(ctx, client); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(k.o.Config.Names...))
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := k.authorize(ctx, client, url); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	return chain, nil
}

// register finds the account of our key, or opens it, and learns what the
// owner should write into the DNS.
func (k *Keeper) register(ctx context.Context, client *acme.Client) error {
	directory, err := client.Discover(ctx)
	if err != nil {
		return err
	}
	if directory.ExternalAccountRequired {
		return errors.New("this authority wants an account that was opened with it beforehand, which machines do not have: choose another")
	}
	account := &acme.Account{}
	if email := k.o.Config.Email; email != "" {
		account.Contact = []string{"mailto:" + email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Account, k.status.CAA = string(client.KID), nil
	for _, name := range k.o.Config.Names { // RFC 8657
		if len(directory.CAA) > 0 {
			k.status.CAA = append(k.status.CAA,
				fmt.Sprintf(`%s. CAA 0 issue "%s; validationmethods=%s; accounturi=%s"`, name, directory.CAA[0], k.o.Config.Challenge, client.KID),
				fmt.Sprintf(`%s. CAA 0 issuewild ";"`, name))
		}
	}
	return nil
}

// authorize shows the authority that one name leads here, unless it knows.
func (k *Keeper) authorize(ctx context.Context, client *acme.Client, url string) error {
	z, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil
	}
	name := z.Identifier.Value
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == k.o.Config.Challenge })
	if i < 0 {
		return fmt.Errorf("the authority does not offer %s for %s", k.o.Config.Challenge, name)
	}
	withdraw, err := k.offer(client, z.Challenges[i].Token, name)
	defer withdraw()
	if err != nil {
		return fmt.Errorf("authorize %s: %w", name, err)
	}
	if _, err := client.Accept(ctx, z.Challenges[i]); err != nil {
		return fmt.Errorf("authorize %s: %w", name, err)
	}
	_, err = client.WaitAuthorization(ctx, url)
	return err
}

// check holds a chain against what was asked for. Whose key it names, the
// holder knows.
func check(chain [][]byte, names []string) (*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err == nil && (time.Now().After(leaf.NotAfter) || !leaf.NotAfter.After(leaf.NotBefore)) {
		err = vm.Refuse(vm.CodeExpired, "it has lapsed, on %v", leaf.NotAfter)
	}
	for _, name := range names {
		if err == nil {
			err = leaf.VerifyHostname(name)
		}
	}
	return leaf, err
}

// hints for problems (RFC 8555, 6.7) that the owner can do something about.
var hints = []struct{ problem, hint string }{
	{"error:caa", "a CAA record of the name allows others only: /status says which records to set"},
	{"error:dns", "does the name have an A or AAAA record that leads to this machine?"},
	{"error:connection", "does the challenge's port (80 for http-01, 443 for tls-alpn-01) lead to this machine from everywhere?"},
	{"error:unauthorized", "does the name lead to this machine, and not to another one?"},
	{"error:rateLimited", "the authority has had enough for now"},
}

// explain is the error on one line of bounded length, with a hint.
func explain(err error) string {
	text := fmt.Sprintf("%.500s", strings.Join(strings.Fields(err.Error()), " "))
	for _, h := range hints {
		if strings.Contains(text, h.problem) {
			return text + ": " + h.hint
		}
	}
	return text
}
