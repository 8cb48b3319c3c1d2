package page

import (
	"encoding/base64"
	"encoding/hex"
	"errors"

	"github.com/cosmos/cosmos-sdk/crypto/keys/multisig"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of pages: they are made between blocks, not instead of them.
const (
	newest  = 10  // rows of each list on a service's page
	looked  = 200 // the newest images, of which a service's page shows what is not revoked
	onePage = 50  // rows of a page of one list
	maxFrom = 256 // characters of where a page begins
)

// view is the newest committed state, for one page.
type view struct {
	*Pages
	ctx   sdk.Context
	query types.QueryServer
	chain chainView
}

// read opens the newest state. root is the relative URL of the node's own root.
func (p *Pages) read(root string) (*view, error) {
	ctx, err := p.app.Read()
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "the chain has no block yet").Try("try again in a few seconds")
	}
	v := &view{Pages: p, ctx: ctx, query: kms.NewQueryServer(p.app.KMS)}
	v.chain = chainView{Root: root, ID: p.app.ChainID(), Height: ctx.BlockHeight(), Now: ctx.BlockTime().Unix()}
	return v, v.readChain()
}

// readChain reads what every page says of the key manager.
func (v *view) readChain() error {
	open, err := v.app.Committee.OpenEpochs(v.ctx)
	if err != nil {
		return err
	}
	groups, err := v.app.Committee.Groups(v.ctx)
	if err != nil {
		return err
	}
	nodes, err := v.app.Committee.Nodes(v.ctx)
	if err != nil {
		return err
	}
	for _, number := range open {
		e := epochView{Number: number}
		for _, g := range groups {
			if g.Epoch == number && len(g.Commitments) > 0 {
				e.GroupKey, e.Threshold, e.Nodes = hex.EncodeToString(g.Commitments[0]), g.Threshold(), len(g.Members)
				for _, n := range nodes {
					if _, holds := g.Member(n.Index); holds && !n.Identity.Attested {
						e.Unseen = append(e.Unseen, n.Index)
					}
				}
			}
		}
		v.chain.Epochs = append(v.chain.Epochs, e)
	}
	params, err := v.app.KMS.Params(v.ctx)
	if err != nil {
		return err
	}
	roots, err := params.Roots()
	for _, r := range roots {
		v.chain.Roots = append(v.chain.Roots, attest.Anchor(r))
	}
	return err
}

// party finds out who an account is.
func (v *view) party(address string) (party, error) {
	out := party{Address: address}
	if c, err := v.app.Council.Council(v.ctx, address); err == nil {
		out.Council = &c
		return out, nil
	} else if _, refused := types.CodeOfError(err); !refused {
		return out, err
	}
	b, err := v.app.Addresses.StringToBytes(address)
	if err != nil {
		return out, vm.Refuse(vm.CodeInvalid, "%.100q is no account of this chain", address)
	}
	account := v.app.Accounts.GetAccount(v.ctx, b)
	if account == nil || account.GetPubKey() == nil {
		out.Unknown = true
		return out, nil
	}
	if many, ok := account.GetPubKey().(*multisig.LegacyAminoPubKey); ok {
		out.Threshold, out.Keys = int(many.Threshold), len(many.PubKeys)
	}
	return out, nil
}

func page(limit uint64, key []byte, newestFirst bool) *query.PageRequest {
	return &query.PageRequest{Limit: limit, Key: key, Reverse: newestFirst}
}

// next writes where the next page begins as it stands in a URL.
func next(p *query.PageResponse) string {
	if p == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(p.NextKey)
}

// begin reads what next wrote.
func begin(from string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(from)
	if err != nil || len(from) > maxFrom {
		return nil, vm.Refuse(vm.CodeMalformed, "%.40q is no place in this list", from)
	}
	return b, nil
}

// service reads all of a service's page.
func (v *view) service(id string) (serviceView, error) {
	out := serviceView{chainView: v.chain}
	found, err := v.query.Service(v.ctx, &types.QueryServiceRequest{Service: id})
	if err != nil {
		return out, noService(id, err)
	}
	out.Service, out.Counters = found.Service, found.Counters
	out.Policy, out.Delay = policyRows(found.Policy), found.Policy.UpgradeDelay
	if p := found.Service.PendingPolicy; p != nil && p.ActiveAt > v.chain.Now {
		out.Pending = p
	}
	if out.Owner, err = v.party(found.Service.Owner); err != nil {
		return out, err
	}
	if out.Images, err = v.standing(id); err != nil {
		return out, err
	}
	if out.Sealed, err = v.sealed(id); err != nil {
		return out, err
	}
	grants, err := v.query.Grants(v.ctx, &types.QueryGrantsRequest{Service: id, Pagination: page(newest, nil, true)})
	if err != nil {
		return out, err
	}
	refusals, err := v.query.Refusals(v.ctx, &types.QueryRefusalsRequest{Service: id, Pagination: page(newest, nil, true)})
	if err != nil {
		return out, err
	}
	changes, err := v.query.Changes(v.ctx, &types.QueryChangesRequest{Service: id, Pagination: page(newest, nil, true)})
	if err != nil {
		return out, err
	}
	machines, err := v.query.Instances(v.ctx, &types.QueryInstancesRequest{Service: id, Pagination: page(newest, nil, false)})
	if err != nil {
		return out, err
	}
	out.Grants = part[types.Grant]{grants.Grants, next(grants.Pagination)}
	out.Refusals = part[types.Refusal]{refusals.Refusals, next(refusals.Pagination)}
	out.Changes = part[types.Change]{changes.Changes, next(changes.Pagination)}
	out.Machines = part[types.Instance]{machines.Instances, next(machines.Pagination)}
	return out, nil
}

// standing returns a service's pending and active images and the newest few
// revoked ones, newest first.
func (v *view) standing(id string) ([]imageView, error) {
	all, _, err := v.images(id, page(looked, nil, true))
	var out []imageView
	revoked := 0
	for _, i := range all {
		if i.Is() == types.StateRevoked {
			if revoked++; revoked > newest {
				continue
			}
		}
		out = append(out, i)
	}
	return out, err
}

// images reads a page of images, each with its first platform.
func (v *view) images(id string, of *query.PageRequest) ([]imageView, string, error) {
	found, err := v.query.Images(v.ctx, &types.QueryImagesRequest{Service: id, Pagination: of})
	if err != nil {
		return nil, "", err
	}
	var out []imageView
	for _, i := range found.Images {
		rows, err := v.app.KMS.Platforms(v.ctx, id, i.Image.Index, 0, 1)
		if err != nil {
			return nil, "", err
		}
		one := imageView{Image: i.Image, Now: v.chain.Now}
		if len(rows) > 0 {
			one.First = &rows[0]
		}
		out = append(out, one)
	}
	return out, next(found.Pagination), nil
}

func (v *view) sealed(id string) ([]sealedView, error) {
	var out []sealedView
	for _, s := range []struct{ name, words string }{{types.SealedEnv, "Environment"}, {types.SealedRegistry, "Registry credentials"}} {
		current, pending, err := v.app.KMS.Sealed(v.ctx, id, s.name, v.chain.Now)
		if err != nil {
			return nil, err
		}
		out = append(out, sealedView{s.words, current, pending})
	}
	return out, nil
}

// kinds are the lists that have pages, and their titles.
var kinds = map[string]string{
	"images": "Images", "grants": "Grants", "refusals": "Refusals", "changes": "Changes by owners", "machines": "Machines",
}

// list reads a page of one list.
func (v *view) list(id, name, kind string, from []byte) (listView, error) {
	out := listView{chainView: v.chain, Service: id, Name: name, Kind: kind, Title: kinds[kind], Begun: len(from) != 0}
	if _, err := v.app.KMS.Service(v.ctx, id); err != nil {
		return out, noService(id, err)
	}
	of := page(onePage, from, kind != "machines")
	var err error
	switch kind {
	case "images":
		out.Images, out.Next, err = v.images(id, of)
	case "grants":
		var found *types.QueryGrantsResponse
		if found, err = v.query.Grants(v.ctx, &types.QueryGrantsRequest{Service: id, Pagination: of}); err == nil {
			out.Grants, out.Next = found.Grants, next(found.Pagination)
		}
	case "refusals":
		var found *types.QueryRefusalsResponse
		if found, err = v.query.Refusals(v.ctx, &types.QueryRefusalsRequest{Service: id, Pagination: of}); err == nil {
			out.Refusals, out.Next, out.Kept, out.Total = found.Refusals, next(found.Pagination), found.Kept, found.Total
		}
	case "changes":
		var found *types.QueryChangesResponse
		if found, err = v.query.Changes(v.ctx, &types.QueryChangesRequest{Service: id, Pagination: of}); err == nil {
			out.Changes, out.Next = found.Changes, next(found.Pagination)
		}
	case "machines":
		var found *types.QueryInstancesResponse
		if found, err = v.query.Instances(v.ctx, &types.QueryInstancesRequest{Service: id, Pagination: of}); err == nil {
			out.Machines, out.Next = found.Instances, next(found.Pagination)
		}
	default:
		err = errors.New("there is no list of " + kind)
	}
	return out, err
}

// index reads a page of services, all or those of one owner.
func (v *view) index(owner string, from []byte) (indexView, error) {
	out := indexView{chainView: v.chain, Begun: len(from) != 0}
	if owner != "" {
		who, err := v.party(owner)
		if err != nil {
			return out, err
		}
		out.Owner = &who
	}
	found, err := v.query.Services(v.ctx, &types.QueryServicesRequest{Owner: owner, Pagination: page(onePage, from, false)})
	if err != nil {
		return out, err
	}
	for _, s := range found.Services {
		counters, err := v.app.KMS.Counters(v.ctx, s.Id)
		if err != nil {
			return out, err
		}
		out.Services = append(out.Services, indexRow{s, counters})
	}
	out.Next = next(found.Pagination)
	return out, nil
}

// noService turns the chain's word for it into a refusal; other errors stay.
func noService(id string, err error) error {
	if code, ok := types.CodeOfError(err); ok && code != vm.CodeNoService {
		return err
	}
	return vm.Refuse(vm.CodeNoService, "This chain has no service %.200s.", id)
}
