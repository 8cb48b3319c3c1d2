package egress

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/vm"
)

// Names in the kernel, for whoever lists its rules.
const (
	tableName = "secretvm"
	set4Name  = "named4"
	set6Name  = "named6"
)

// Table is the installed policy. It is not safe for use by several at a time.
type Table struct {
	table      *nftables.Table
	set4, set6 *nftables.Set // address and port of what names stood for; nil: there is no list
}

// before Docker's own chains, which are at 0, so that they accept nothing first.
var priority = nftables.ChainPriorityRef(*nftables.ChainPriorityFilter - 10)

// Install puts the policy in the kernel, in one transaction, in place of an
// earlier one. What leaves through the interface uplink is restricted to list
// where restricted says so; what containers say to each other is not.
func Install(uplink string, list []vm.Destination, restricted bool) (*Table, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	t := &Table{table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}}
	c.AddTable(t.table) // so that there is one to delete
	c.DelTable(t.table)
	t.table = c.AddTable(t.table)
	chains := map[string]*nftables.Chain{}
	for name, hook := range map[string]*nftables.ChainHook{"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{Name: name, Table: t.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority})
		for _, match := range metadata() {
			t.refuse(c, chain, match...)
		}
		chains[name] = chain
	}
	if restricted {
		if err := t.restrict(c, chains["forward"], uplink, list); err != nil {
			return nil, err
		}
	}
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("install the egress policy: %w", err)
	}
	return t, nil
}

// restrict appends: what does not leave here may pass, answers may, the list
// may, nothing else.
func (t *Table) restrict(c *nftables.Conn, chain *nftables.Chain, uplink string, list []vm.Destination) error {
	concat := func(address nftables.SetDatatype) nftables.SetDatatype {
		return nftables.MustConcatSetType(address, nftables.TypeInetService)
	}
	t.set4 = &nftables.Set{Table: t.table, Name: set4Name, Concatenation: true, KeyType: concat(nftables.TypeIPAddr)}
	t.set6 = &nftables.Set{Table: t.table, Name: set6Name, Concatenation: true, KeyType: concat(nftables.TypeIP6Addr)}
	for _, s := range []*nftables.Set{t.set4, t.set6} {
		if err := c.AddSet(s, nil); err != nil {
			return fmt.Errorf("install the egress policy: %w", err)
		}
	}
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	rules := [][]expr.Any{
		{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: interfaceName(uplink)}, accept,
		},
		{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}, accept,
		},
	}
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, d := range list {
			if d.Name == "" {
				rules = append(rules, join(isProtocol(protocol), to(d.Prefix), isPort(d.Port), []expr.Any{accept}))
			}
		}
		// The key of a set lies in registers of 4 bytes: 1 is the first, 9 the
		// second, and 2 is the fifth, after 16 bytes of address.
		rules = append(
			rules,
			join(isProtocol(protocol), isFamily(unix.NFPROTO_IPV4), []expr.Any{
				destination4(1), port(9), &expr.Lookup{SourceRegister: 1, SetName: set4Name, SetID: t.set4.ID}, accept,
			}),
			join(isProtocol(protocol), isFamily(unix.NFPROTO_IPV6), []expr.Any{
				destination6(1), port(2), &expr.Lookup{SourceRegister: 1, SetName: set6Name, SetID: t.set6.ID}, accept,
			}),
		)
	}
	for _, r := range rules {
		c.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: r})
	}
	t.refuse(c, chain)
	return nil
}

// refuse says no to what matches, at once: to TCP by a reset, which the kernel
// sends as often as it is asked to, to the rest as firewalls do.
func (t *Table) refuse(c *nftables.Conn, chain *nftables.Chain, match ...expr.Any) {
	reset := &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
	prohibited := &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}
	for _, exprs := range [][]expr.Any{join(match, isProtocol(unix.IPPROTO_TCP), []expr.Any{reset}), join(match, []expr.Any{prohibited})} {
		c.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: exprs})
	}
}

// Change lets addresses in and takes others out, in one transaction.
func (t *Table) Change(in, out []netip.AddrPort) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	for _, change := range []struct {
		apply func(*nftables.Set, []nftables.SetElement) error
		list  []netip.AddrPort
	}{{c.SetDeleteElements, out}, {c.SetAddElements, in}} {
		for _, a := range change.list {
			set := t.set4
			if a.Addr().Is6() {
				set = t.set6
			}
			key := append(a.Addr().AsSlice(), binaryutil.BigEndian.PutUint16(a.Port())...)
			if err := change.apply(set, []nftables.SetElement{{Key: append(key, 0, 0)}}); err != nil {
				return fmt.Errorf("change the egress policy: %w", err)
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("change the egress policy: %w", err)
	}
	return nil
}

// metadata are the matches of what no container may ask.
func metadata() (matches [][]expr.Any) {
	for _, p := range Metadata {
		matches = append(matches, to(p))
	}
	for _, p := range wireServerPorts {
		matches = append(matches, join(isProtocol(unix.IPPROTO_TCP), to(wireServer), isPort(p)))
	}
	return matches
}

func join(parts ...[]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func isFamily(family byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}}}
}

func isProtocol(protocol byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}}}
}

func isPort(p uint16) []expr.Any {
	return []expr.Any{port(1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p)}}
}

// to matches packets to an address of p, of p's family only.
func to(p netip.Prefix) []expr.Any {
	match, load := isFamily(unix.NFPROTO_IPV4), destination4(1)
	if p.Addr().Is6() {
		match, load = isFamily(unix.NFPROTO_IPV6), destination6(1)
	}
	size := uint32(p.Addr().BitLen() / 8)
	return append(
		match, load,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()), Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	)
}

// The destination in the headers of IPv4 (RFC 791, 3.1), IPv6 (RFC 8200, 3), and
// of TCP and UDP, whose ports are in the same place (RFC 9293, RFC 768).
func destination4(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
}

func destination6(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}
}

func port(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

// interfaceName fills a name up with zeros, as the kernel compares it.
func interfaceName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}
