package api

import (
	"fmt"
	"sort"

	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/client"

	"github.com/secretvm/secretvm/kms/chain"
)

// maxMessage bounds a request and an answer, in bytes.
const (
	maxRequest = 1 << 20
	maxAnswer  = 4 << 20
)

// API is the interfaces of one node.
type API struct {
	app     *chain.App
	comet   client.CometRPC
	methods []method // sorted by path
	openAPI []byte
}

// New adds the services of transactions and blocks to the application's queries,
// once for an application, and finds out what there is to serve.
func New(app *chain.App, comet client.CometRPC) (*API, error) {
	registerServices(app, comet)
	a := &API{app: app, comet: comet}
	probe := grpc.NewServer()
	app.RegisterGRPCServer(probe)
	var names []string
	for name := range probe.GetServiceInfo() {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		found, err := methodsOf(name)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", name, err)
		}
		a.methods = append(a.methods, found...)
	}
	sort.Slice(a.methods, func(i, j int) bool {
		return a.methods[i].path+a.methods[i].verb < a.methods[j].path+a.methods[j].verb
	})
	var err error
	a.openAPI, err = describe(app.ChainID(), a.methods)
	return a, err
}
