package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/step"
)

// The client of DHCP as a service, and what it tells guestd.
const (
	Part     = "dhcp"
	AskOffer = "offer" // Offer: nothing
)

// Settings is what it is started with. Its only file is the Socket.
type Settings struct {
	Desk string // socket on which it tells guestd
}

// Offer is what it has come to.
type Offer struct {
	Network configdisk.Network
	Error   string // why there is none; empty: there is
}

// pause is how long after an offer the next one is heard.
const pause = time.Second

// Offers gives an interface what it is offered. It does not depend on who offers.
type Offers struct {
	link       Link
	dns        []netip.Addr
	resolvConf string
	note       func(string)

	mu      sync.Mutex
	address netip.Prefix // of the last one
	why     error        // there was none yet
	first   chan configdisk.Network
}

// NewOffers makes it for a link. If there are any, the name servers dns are written
// to resolvConf instead of those that are offered. Once there was an offer, note is
// told what becomes of it.
func NewOffers(link Link, dns []netip.Addr, resolvConf string, note func(string)) *Offers {
	return &Offers{link: link, dns: dns, resolvConf: resolvConf, note: note, first: make(chan configdisk.Network, 1)}
}

// Take applies an offer. Without one, what is in use stays in use: giving up the
// address would only end what works.
func (o *Offers) Take(ctx context.Context, offer Offer) (struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.judge(offer)
	if err == nil {
		err = Fix(o.link, n, o.resolvConf)
	}
	switch before := o.address; {
	case err != nil && !before.IsValid():
		o.why = err
	case err != nil:
		o.note(fmt.Sprintf("renew address: %v", err))
	case !before.IsValid():
		o.first <- n
	case n.Addresses[0] != before:
		o.note(fmt.Sprintf("address is now %s", n.Addresses[0]))
	}
	if err == nil {
		o.address = n.Addresses[0]
	}
	_ = step.Pause(ctx, pause)
	return struct{}{}, err
}

// judge returns what of an offer can be given to an interface.
func (o *Offers) judge(offer Offer) (n configdisk.Network, err error) {
	n = offer.Network
	if len(o.dns) > 0 {
		n.DNS = o.dns
	}
	switch err := n.Validate(); {
	case offer.Error != "":
		return n, fmt.Errorf("%.200s", offer.Error)
	case err != nil:
		return n, fmt.Errorf("DHCP: %w", err)
	case len(n.Addresses) != 1 || !n.Addresses[0].Addr().Is4():
		return n, errors.New("DHCP gives other than one address of IPv4")
	}
	return n, nil
}

// First waits for the first offer until ctx ends, which has that patience.
func (o *Offers) First(ctx context.Context, patience time.Duration) (configdisk.Network, error) {
	select {
	case n := <-o.first:
		return n, nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.why == nil {
		o.why = ctx.Err()
	}
	return configdisk.Network{}, fmt.Errorf("no address by DHCP within %v: %w", patience, o.why)
}
