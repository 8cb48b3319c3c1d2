package node

import (
	"net/http"
	"sync/atomic"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// door answers while the node opens its chain, which can take a while: who asks
// goes to another node at once, where a connection that hangs would keep it.
type door struct{ behind atomic.Pointer[http.Handler] }

// open lets requests through.
func (d *door) open(h http.Handler) { d.behind.Store(&h) }

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := d.behind.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	wire.WriteRefusal(w, vm.Refuse(vm.CodeUnavailable, "this node is starting").Try("wait a second, or ask another node"))
}
