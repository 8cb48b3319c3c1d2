package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/host/registry"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/vm"
)

// Where the nodes of a local KMS run.
const (
	InProcesses = "processes"
	InMachines  = "vms"
)

// machineIdle is how often nodes in machines make a block when there is nothing to
// decide, as examples/kms-node has it: the founding process must not hurry them.
const machineIdle = "5s"

// Ports that a node publishes: for machines and owners, and for other nodes.
const (
	nodePort = 29380
	peerPort = 29381
)

// How long nodes in machines may take to follow the chain, to be given shares, and
// to give them back. Emulated ones are slow.
const (
	followTimeout = 6 * time.Minute
	shareTimeout  = 8 * time.Minute
)

// NodeWorkload makes or finds the workload of a machine that is a node, with its
// images.
type NodeWorkload func(ctx context.Context, note Note) (*compose.Workload, *oci.Store, error)

// NodeWorkload is the one of the source tree: examples/kms-node, with the node's
// program as it is there.
func (l Locked) NodeWorkload(ctx context.Context, note Note) (*compose.Workload, *oci.Store, error) {
	source := l.Source
	if source == "" {
		var err error
		if source, err = findSource(); err != nil {
			return nil, nil, err
		}
	}
	folder := filepath.Join(source, "examples", "kms-node")
	read, err := compose.Read(folder)
	if err != nil {
		return nil, nil, err
	}
	store, err := l.Containers(ctx, folder, note)
	if err != nil || store == nil {
		return nil, nil, errors.Join(err, fmt.Errorf("make the images of %s", folder))
	}
	w, err := compose.Parse(store.Pin(read.Compose), nil)
	if err != nil {
		return nil, nil, err
	}
	w.Path = read.Path
	return w, store, nil
}

// nodeMachine is a node of the KMS in a machine of its own.
type nodeMachine struct {
	*Installation        // of which only the machine is its own
	api, peer     string // URL and host:port on this computer
}

// bootNodes boots the machines of the KMS, one after the other. Each gets its disk
// from the founding node, as any service's machine does.
func (in *Installation) bootNodes(ctx context.Context) (string, error) {
	w, store, err := in.o.NodeWorkload(ctx, in.o.Note)
	if err != nil {
		return "", err
	}
	if in.nodeImages, err = registry.Start(store.Dir, "127.0.0.1:0"); err != nil {
		return "", err
	}
	service, _, err := in.kms.ensureService(ctx, w.Settings.Service)
	if err != nil {
		return "", err
	}
	if err := in.sealChain(ctx, service.ID); err != nil {
		return "", err
	}
	open := in.openNodeImage
	if open == nil {
		open = func() (Image, error) { return OpenImage(in.image.Folder, w.Settings.Shape) }
	}
	image, err := open()
	if err != nil {
		return "", err
	}
	began := time.Now()
	for i := range in.o.KMSNodes {
		n, err := in.newNode(i+1, w, image)
		if err != nil {
			return "", err
		}
		in.nodes = append(in.nodes, n)
		if _, err := n.register(ctx); err != nil {
			return "", err
		}
		if err := n.start(ctx, nil); err != nil || n.Failure() != nil {
			if err == nil {
				err = n.Failure()
			}
			return "", fmt.Errorf("%s of the KMS: %w", n.name, err)
		}
	}
	return fmt.Sprintf("%s, %.0fs each", count(len(in.nodes), "machine"), time.Since(began).Seconds()/float64(len(in.nodes))), nil
}

// newNode makes ready for the machine of node i, whose ports stay what they are,
// for the ledger names them.
func (in *Installation) newNode(i int, w *compose.Workload, image Image) (*nodeMachine, error) {
	name := w.Settings.Service + "-" + strconv.Itoa(i)
	m := &Installation{
		o: in.o, name: name, kms: in.kms, status: in.status, trustRoot: in.trustRoot,
		image: image, emulator: in.emulator, registry: in.nodeImages,
	}
	m.reports = &collector{to: noteReporter(func(format string, args ...any) { in.o.Note(name+": "+format, args...) })}
	m.o.Workload, m.o.Shape, m.o.KMSNodes, m.o.KMSIn = w, w.Settings.Shape, 0, ""
	m.o.Note = func(format string, args ...any) { in.o.Note(name+": "+format, args...) }
	var err error
	if m.folder, err = machine.Open(m.machineFolder(), w.Settings.Disk.Size); err != nil {
		return nil, err
	}
	ports, err := keptPorts(filepath.Join(m.folder.Dir(), "ports.json"), nodePort, peerPort)
	if err != nil {
		return nil, err
	}
	ports[vm.AttestationPort] = 0
	if m.addresses, m.attestation, _, err = plan(w.Ports(), ports); err != nil {
		return nil, err
	}
	return &nodeMachine{m, "http://127.0.0.1:" + strconv.Itoa(ports[nodePort]), "127.0.0.1:" + strconv.Itoa(ports[peerPort])}, nil
}

// keptPorts returns a free port of this computer for each that is published: at
// first any, later the same.
func keptPorts(file string, published ...int) (map[int]int, error) {
	ports := map[int]int{}
	text, err := os.ReadFile(file)
	if err == nil {
		if err = json.Unmarshal(text, &ports); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read ports: %w", err)
	}
	for _, p := range published {
		if ports[p] != 0 {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all at the end, so that they differ
		ports[p] = l.Addr().(*net.TCPAddr).Port
	}
	if text, err = json.Marshal(ports); err != nil {
		return nil, err
	}
	return ports, os.WriteFile(file, text, 0o600)
}

// sealChain tells the machines which chain they are nodes of: as its owner seals
// it, for what the host says is a hint and this must not be.
func (in *Installation) sealChain(ctx context.Context, service string) error {
	founder := in.kms.urls()[0]
	var genesis json.RawMessage
	if err := getJSON(ctx, founder+"/kms/v1/genesis", &genesis); err != nil {
		return fmt.Errorf("read the chain's genesis: %w", err)
	}
	file := filepath.Join(in.o.home(), "kms-node.env")
	text := fmt.Sprintf("KMSD_GENESIS=%s\nKMSD_SEEDS=%s\n", vm.HashOf(genesis), forGuest(founder))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the nodes' environment: %w", err)
	}
	return in.seal(ctx, service, "--env-file", file)
}

// admitNodes brings the machines to the chain by what they prove, and waits until
// each has a share.
func (in *Installation) admitNodes(ctx context.Context) (string, error) {
	if err := in.nameService(ctx); err != nil {
		return "", err
	}
	for _, n := range in.nodes {
		in.o.Note("%s follows the chain", n.name)
		if err := n.follow(ctx, in.kms.urls()[0]); err != nil {
			return "", err
		}
	}
	in.sharing = true
	for _, n := range in.nodes {
		in.o.Note("%s proves what it runs", n.name)
		err := in.kms.ask(ctx, nil, "tx", "committee", "admit", n.api, "--peer", n.peer)
		if err != nil && vm.CodeOf(err) != vm.CodeExists {
			return "", fmt.Errorf("admit %s: %w", n.name, err)
		}
	}
	s, err := in.holders(ctx, "the machines to get shares", func(s holderStatus) bool {
		return !slices.ContainsFunc(in.nodes, func(n *nodeMachine) bool { return s.index(n.api) == 0 })
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d nodes are machines, keys need %d", len(in.nodes), len(s.Nodes), s.Threshold), nil
}

// nameService has the chain admit machines of the nodes' service.
func (in *Installation) nameService(ctx context.Context) error {
	var answer struct {
		Params map[string]any `json:"params"`
	}
	if err := in.kms.ask(ctx, &answer, "query", "committee", "params"); err != nil {
		return err
	}
	service := in.nodes[0].service.ID
	if answer.Params["node_service"] == service {
		return nil
	}
	answer.Params["node_service"] = service
	answer.Params["phase_seconds"] = "60" // emulated ones take their time
	text, err := json.Marshal(answer.Params)
	if err != nil {
		return fmt.Errorf("encode the chain's parameters: %w", err)
	}
	return in.kms.ask(ctx, nil, "tx", "committee", "update-params", "--params", string(text))
}

// nearly is how many blocks a node may be behind another that it keeps up with.
const nearly = 3

// follow waits until the machine's node has the newest blocks of the node at
// founder.
func (n *nodeMachine) follow(ctx context.Context, founder string) error {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	for {
		var there, here holderStatus
		err := getJSON(ctx, n.api+"/kms/v1/status", &there)
		if err == nil {
			err = getJSON(ctx, founder+"/kms/v1/status", &here)
		}
		if err == nil && there.Height >= here.Height-nearly {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is at block %d of %d", there.Height, here.Height)
		}
		select {
		case <-n.run.Done():
			return fmt.Errorf("%s powered off (its console: %s)", n.name, n.folder.ConsoleLog())
		case <-ctx.Done():
			return fmt.Errorf("%s does not follow the chain: %w (its console: %s)", n.name, err, n.folder.ConsoleLog())
		case <-time.After(time.Second):
		}
	}
}

// releaseNodes takes the machines' shares back, so that the founding node alone
// makes the keys with which they start again.
func (in *Installation) releaseNodes(ctx context.Context) (string, error) {
	var s holderStatus
	if err := in.kms.ask(ctx, &s, "status"); err != nil {
		return "", in.keptByMachines(err)
	}
	ours := func(s holderStatus) bool {
		return slices.ContainsFunc(in.nodes, func(n *nodeMachine) bool { return s.index(n.api) != 0 })
	}
	if !ours(s) {
		return "the machines had no shares", nil
	}
	for _, n := range in.nodes {
		if index := s.index(n.api); index != 0 {
			if err := in.kms.ask(ctx, nil, "tx", "committee", "leave", "--index", strconv.Itoa(index)); err != nil {
				return "", in.keptByMachines(err)
			}
		}
	}
	_, err := in.holders(ctx, "the machines to give their shares back", func(s holderStatus) bool { return !ours(s) })
	if err != nil {
		return "", in.keptByMachines(err)
	}
	return "the founding node has the key alone", nil
}

// keptByMachines says what follows when the machines keep their shares.
func (in *Installation) keptByMachines(err error) error {
	return fmt.Errorf("%w\n    the KMS's key is shared among machines whose disks open with it: they cannot start again without one another, "+
		"and what is stored under this state folder is lost unless shares were backed up (docs/kms.md)", err)
}

// holderStatus is the part of `kmsd status` that says who has shares.
type holderStatus struct {
	Threshold int   `json:"threshold"`
	Height    int64 `json:"height"`
	Nodes     []struct {
		Index int    `json:"index"`
		API   string `json:"api"`
	} `json:"nodes"`
	Round string `json:"round"`
}

// index is that of the node at api; 0: it has no share.
func (s holderStatus) index(api string) int {
	for _, n := range s.Nodes {
		if n.API == api {
			return n.Index
		}
	}
	return 0
}

// holders waits until the shares are held as wanted.
func (in *Installation) holders(ctx context.Context, what string, done func(holderStatus) bool) (s holderStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	for {
		s = holderStatus{}
		if err = in.kms.ask(ctx, &s, "status"); err == nil && done(s) {
			return s, nil
		}
		if err == nil {
			in.o.Note("%s", s.Round)
			err = fmt.Errorf("%d nodes have shares; %s", len(s.Nodes), s.Round)
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("wait for %s: %w: %w", what, ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}

// getJSON reads what a node of this computer answers.
func getJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
