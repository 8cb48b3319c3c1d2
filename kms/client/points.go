package client

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// The answers of nodes repeat the same few points, and to read one takes as long
// as several signatures. So they are taken as text and read once.

// statusText is a wire.Status whose points are not read yet. The nodes are only
// counted: what their keys are follows from the commitments.
type statusText struct {
	wire.Status
	GroupKey    string            `json:"group_key"`
	Commitments []string          `json:"commitments"`
	Nodes       []json.RawMessage `json:"nodes"`
}

// partialsText is a wire.Partials whose points are not read yet.
type partialsText struct {
	wire.Partials
	Commitments []string `json:"commitments"`
}

// points remembers what points a text is.
type points struct {
	mu    sync.Mutex
	known map[string]keys.PublicKey
}

// maxPoints bounds what liars can make a machine remember; when it is reached,
// everything is read anew.
const maxPoints = 256

// read reads points, none of none.
func (p *points) read(texts ...string) (keys.Commitments, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	if len(texts) > keys.MaxNodes {
		return nil, fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeMalformed, "it names %d points, want at most %d", len(texts), keys.MaxNodes), wire.ErrGarbage)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(keys.Commitments, len(texts))
	for i, text := range texts {
		point, ok := p.known[text]
		if !ok {
			var err error
			if point, err = keys.ParsePublicKeyHex(text); err != nil {
				return nil, fmt.Errorf("%w (%w: %w)", vm.Refuse(vm.CodeMalformed, "point %d that it names is none", i+1), wire.ErrGarbage, err)
			}
			p.remember(text, point)
		}
		out[i] = point
	}
	return out, nil
}

// remember notes what point a text is.
func (p *points) remember(text string, point keys.PublicKey) {
	if len(p.known) >= maxPoints || p.known == nil {
		p.known = make(map[string]keys.PublicKey)
	}
	p.known[text] = point
}

// status reads the points of a node's status.
func (p *points) status(t statusText) (wire.Status, error) {
	group, err := p.read(t.GroupKey)
	if err != nil {
		return wire.Status{}, err
	}
	s := t.Status
	s.GroupKey, s.Nodes = group[0], make([]wire.Node, len(t.Nodes))
	s.Commitments, err = p.read(t.Commitments...)
	return s, err
}
