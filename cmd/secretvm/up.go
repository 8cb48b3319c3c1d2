package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/progress"
	"github.com/secretvm/secretvm/vm"
)

// upFlags are the flags of up.
type upFlags struct {
	tee, state, image, qemu, kmsd string
	kmsIn                         string
	cpus, kmsNodes                int
	memory                        string
	ports, kmsURLs, gpus          []string
	mirrors                       []string
	timeout, grace                time.Duration
	json, seal                    bool
	envFile                       string
	services                      serviceFlags // of collateral
	network                       networkFlags
}

func newUpCommand() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up [FOLDER | COMPOSE-FILE]",
		Short: "Run a workload in a measured machine on this computer, with a KMS of its own",
		Long: `up does everything that a workload needs on one computer: it builds the machine
image or finds it in the cache, starts a local KMS chain, registers the workload
there, boots a machine with the soft TEE, and shows how far it has come.

The machine's disk, its identity and the KMS are kept in the state folder: the
next up of the same service finds the data. ^C shuts the machine down in order;
a second ^C is a power cut.

--kms-nodes 4 makes the KMS of four nodes, each a process with a share of its own:
three of them make keys, and one may be down. The number is chosen once, with the
first up; the default is one node, which is ready in a second or two.

What the workload takes from its owner is sealed with --env-file and --seal, and
stays on the ledger: later ups need neither (secretvm service env set --help).

With --kms-in vms the nodes are measured machines themselves, beside one process
that founds the chain: it gives them their disks, they prove what they run, and the
key is shared with them. At the end they give their shares back, so that the next
up can start them; a computer that loses its power meanwhile loses the key.

A workload that chooses the key manager contract of existing machines
(x-secretvm.kms) gets no KMS of up's: --kms-url says where the network's nodes
answer. up says what such a machine gives up, and what the contract's
administrators have to send before it gets keys.

The soft TEE has real formats and no confidentiality: whoever runs this computer
can read and change everything in the machine.

--tee tdx boots a machine in Intel TDX, where this computer can (secretvm host
doctor), with a KMS that accepts nothing but Intel's signatures. What Intel signs
about the processor comes from the cache, a PCCS (--pccs) or Intel. This has not
run on hardware yet.

--address, --gateway and --dns tell the machine what DHCP would (user-mode network:
10.0.2.15/24, 10.0.2.2, 10.0.2.3). They are hints: nothing measures them, and the
machine believes them as little as DHCP.`,
		Example: `  secretvm up examples/guestbook
  secretvm up --port 8080=18080 --memory 4G docker-compose.yaml
  secretvm up --json examples/guestbook | jq -r '.addresses[0].url'`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			path := "."
			if len(args) == 1 {
				path = args[0]
			}
			o, err := f.options(path)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if o.Kmsd, err = findKmsd(f.kmsd); err != nil {
				return err
			}
			return runUp(c.Context(), o, f.json, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.tee, "tee", string(vm.Soft), "trusted execution environment: soft, tdx or snp (see host doctor)")
	flags.StringVar(&f.state, "state", "", "`FOLDER` of everything that is kept (default $XDG_STATE_HOME/secretvm)")
	flags.StringVar(&f.image, "image", "", "boot the image in this `FOLDER` instead of building one")
	flags.StringVar(&f.qemu, "qemu", "", "`PATH` of another QEMU than the locked one")
	flags.StringVar(&f.kmsd, "kmsd", "", "`PATH` of the KMS program (default: beside this program, then $PATH)")
	flags.IntVar(&f.cpus, "cpus", 0, "virtual CPUs (default: x-secretvm.shape of the workload)")
	flags.IntVar(&f.kmsNodes, "kms-nodes", 0, "nodes of the local KMS, chosen when it is made (default: one that no others can join; later as many as it has)")
	flags.StringVar(&f.kmsIn, "kms-in", local.InProcesses, "where these nodes run: processes, or vms: measured machines that the chain admits by what they prove")
	flags.StringArrayVar(&f.kmsURLs, "kms-url", nil, "`URL` of a node of the key manager that the workload chooses (x-secretvm.kms), or of what gives it collateral (…/quote-parse) (repeatable)")
	flags.StringArrayVar(&f.gpus, "gpu", nil, "give the machine this GPU of the computer: its PCI `ADDRESS`, such as 0000:17:00.0 (repeatable; with --tee tdx or snp, and gpu: attest in the workload)")
	flags.StringVar(&f.memory, "memory", "", "memory, such as 2G or 1536M (default: x-secretvm.shape of the workload)")
	flags.StringArrayVar(&f.ports, "port", nil, "`PUBLISHED=LOCAL`: another port of this computer, 0 for any free one (repeatable)")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "`ARCHIVE=URL` to fetch packages from first (repeatable)")
	flags.StringArrayVar(&f.services.addresses.Intel, "pccs", nil, "--tee tdx: ask this `URL` for Intel's collateral, a PCCS for example (repeatable; "+endorsement.VariablePCCS+")")
	flags.BoolVar(&f.seal, "seal", false, "seal the secrets of the compose file, from the files beside it, for the machine to find")
	flags.StringVar(&f.envFile, "env-file", "", "the same, and with them these variables: a `FILE` of NAME=VALUE lines")
	f.network.register(c)
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "give up when the workload does not run this long after power-on")
	flags.DurationVar(&f.grace, "grace", time.Minute, "wait this long for the machine to shut down before its power is cut")
	flags.BoolVar(&f.json, "json", false, "print the result as one JSON document")
	return c
}

// options turns flags into what up runs; its errors are wrong usage.
func (f upFlags) options(path string) (o local.Options, err error) {
	o = local.Options{TEE: vm.TEE(f.tee), State: f.state, Timeout: f.timeout, Grace: f.grace, KMSNodes: f.kmsNodes, KMSIn: f.kmsIn, KMSURLs: f.kmsURLs, GPUs: f.gpus, Seal: f.seal, EnvFile: f.envFile}
	if o.Workload, err = compose.Read(path); err != nil {
		return o, err
	}
	if o.State == "" {
		if o.State, err = local.StateFolder(); err != nil {
			return o, err
		}
	}
	if o.Shape.Memory, err = parseMemory(f.memory); err != nil {
		return o, err
	}
	o.Shape.CPUs = f.cpus
	if o.Ports, err = parsePorts(f.ports); err != nil {
		return o, err
	}
	if o.Network, err = f.network.hints(); err != nil {
		return o, err
	}
	if o.SecretVM, err = os.Executable(); err != nil {
		return o, fmt.Errorf("find this program: %w", err)
	}
	o.Command = os.Args[0]
	o.TrustRoot = developmentRoot
	f.parts(&o)
	return o, o.Check()
}

// runUp starts everything, says where it is, waits, and stops everything.
func runUp(ctx context.Context, o local.Options, asJSON bool, stdout, stderr io.Writer) error {
	printer := progress.New(stderr)
	o.Note = printer.Note
	o.Warn = func(format string, args ...any) { fmt.Fprintf(stderr, "WARNING: "+format+"\n", args...) }
	in, err := local.Up(ctx, o, printer)
	if err == nil {
		if asJSON {
			err = in.Result().WriteJSON(stdout)
		} else {
			_, err = in.Result().WriteTo(stdout)
		}
		if o.TEE == vm.Soft {
			fmt.Fprintln(stderr, "SOFT TEE: real formats, no confidentiality. ^C stops it; data is kept.")
		} else {
			fmt.Fprintln(stderr, "^C stops it; data is kept.")
		}
	}
	ready := err == nil
	if ready {
		err = errors.Join(in.Failure(), in.Wait(ctx))
	}

	// The first ^C ended ctx; the next one cuts the machine's power.
	force, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	downErr := in.Down(force, printer)
	if !ready && ctx.Err() != nil {
		err = errors.New("interrupted; everything was stopped, and what was stored is kept")
	}
	return errors.Join(err, downErr)
}

// parseMemory reads "2G", "1536M" or a number of MiB; empty is 0.
func parseMemory(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	digits, unit := s, int64(1<<20)
	if text, is := strings.CutSuffix(s, "G"); is {
		digits, unit = text, 1<<30
	} else if text, is := strings.CutSuffix(s, "M"); is {
		digits = text
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("--memory %q: want a size such as 2G or 1536M", s)
	}
	return n * unit, nil
}

// parsePorts reads PUBLISHED=LOCAL pairs.
func parsePorts(pairs []string) (map[int]int, error) {
	ports := map[int]int{}
	for _, pair := range pairs {
		from, to, _ := strings.Cut(pair, "=")
		published, err1 := strconv.ParseUint(from, 10, 16)
		host, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || published == 0 {
			return nil, fmt.Errorf("--port %q: want PUBLISHED=LOCAL, such as 8080=18080", pair)
		}
		ports[int(published)] = int(host)
	}
	return ports, nil
}
