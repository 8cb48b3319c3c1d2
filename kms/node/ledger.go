package node

import (
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// This file turns the ledger's state into the shapes of package wire.

func isIntel(c *x509.Certificate) bool { return c.Equal(attest.IntelRoot()) }

func at(unix int64) time.Time { return time.Unix(unix, 0).UTC() }

func viewGrant(g types.Grant) wire.Grant {
	out := wire.Grant{
		Service: g.Service, InstanceID: g.VmUid, Image: g.Image, Keys: g.IDs(), HPKEKey: g.HpkeKey, SessionKey: g.SessionKey,
		Generation: g.Generation, Height: g.Height, Time: at(g.Time), TCBStatus: g.TcbStatus,
		Anchor: vm.Anchor{Subject: g.Anchor.Subject, Intel: g.Anchor.Intel},
	}
	copy(out.ID[:], g.Id)
	copy(out.Anchor.SHA256[:], g.Anchor.Sha256)
	return out
}

func viewRefusal(r types.Refusal) wire.Refused {
	return wire.Refused{Seq: r.Seq, Height: r.Height, Time: at(r.Time), Count: r.Count, InstanceID: r.VmUid, Refusal: *r.Refusal()}
}

func viewService(s types.Service, images []types.Image) wire.Service {
	out := wire.Service{ID: s.Id, Owner: s.Owner, Name: s.Name, Height: s.Height, Time: at(s.Time), Grants: s.Grants, Images: []wire.Image{}}
	for _, i := range images {
		out.Images = append(out.Images, viewImage(i))
	}
	return out
}

func viewImage(i types.Image) wire.Image {
	out := wire.Image{Index: i.Index, Description: i.Description, Height: i.Height, Time: at(i.Time), Template: json.RawMessage(i.Template)}
	for dst, src := range map[*vm.Register][]byte{&out.MRTD: i.Mrtd, &out.RTMR0: i.Rtmr0, &out.RTMR1: i.Rtmr1, &out.RTMR2: i.Rtmr2, &out.RTMR3: i.Rtmr3} {
		copy(dst[:], src)
	}
	if len(i.RootHash) != 0 {
		out.RootHash = new(vm.Hash)
		copy(out.RootHash[:], i.RootHash)
	}
	return out
}
