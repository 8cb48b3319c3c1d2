package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/vm"
)

func newRecoverCommand(s *settings) *cobra.Command {
	c := group("recover", "Go on with a chain whose nodes are all lost", newPrepareCommand(s), newPlanCommand(s), newDealCommand(s), newInstallCommand(s))
	c.Long = `recover hands the key of a chain whose nodes are all lost to new nodes, by the
recovery committee that the chain named while it lived, and goes on with its state.
Nobody sees the key meanwhile: each member deals its part to the new nodes, on a
computer of its own. The whole drill is in docs/recovery.md:

  kmsd export          the state, out of a copy of any lost node's folder
  kmsd recover prepare on each new node: keys of its own
  kmsd recover plan    once: which export, which nodes
  kmsd recover deal    each member: checks the plan, and deals
  kmsd recover install on each new node, with all members' deals; then start it`
	return c
}

func newPrepareCommand(s *settings) *cobra.Command {
	var settings node.Settings
	var profile string
	c := &cobra.Command{
		Use:   "prepare",
		Short: "Make the home of a node that is to go on with a lost chain",
		Long: `prepare makes --home with keys of its own and prints their public halves, which the
plan needs (--json for the file), also to HOME/successor.json. Nothing secret
leaves the home.`,
		Example: "  kmsd recover prepare --home new1 --listen 10.0.0.1:29380 --peer-listen 10.0.0.1:29381",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			settings.Profile = node.Profile(profile)
			made, err := node.PrepareSuccessor(s.folder(), settings)
			if err != nil {
				return err
			}
			path := filepath.Join(s.home, "successor.json")
			if err := writeJSON(path, made); err != nil {
				return err
			}
			return s.print(c, made, "home       "+s.home, "public     "+path)
		},
	}
	c.Flags().StringVar(&settings.Listen, "listen", node.DefaultListen, "host:port of the node's interface")
	c.Flags().StringVar(&settings.PeerListen, "peer-listen", "127.0.0.1:29381", "host:port where other nodes connect")
	c.Flags().StringVar(&profile, "profile", string(node.ProfileWide), "what lies between the nodes: local or wide")
	return c
}

// drill are the flags of who takes part in a recovery.
type drill struct {
	export, plan, trusted string
}

func (d *drill) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.export, "export", "export.json", "the chain's state, of kmsd export")
	c.Flags().StringVar(&d.plan, "plan", "plan.json", "the plan")
	c.Flags().StringVar(&d.trusted, "trusted-hash", "", "SHA-256 of the export that you trust: that of one that you made of a copy of your own")
}

// checked reads the export and holds it to the one that is trusted.
func (d *drill) checked() ([]byte, error) {
	b, err := os.ReadFile(d.export)
	if err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	if got := vm.HashOf(b).String(); d.trusted != "" && got != strings.ToLower(d.trusted) {
		return nil, vm.Refuse(vm.CodeSignature, "%s is another export than the one that you trust", d.export).On("sha256", got, d.trusted).
			Try("export the state of a copy of a lost node's folder yourself, at the height that was agreed on: kmsd export --height")
	}
	return b, nil
}

// read reads export and plan.
func (d *drill) read() (*node.Succession, error) {
	export, err := d.checked()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(d.plan)
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	p, err := node.ReadPlan(b)
	if err != nil {
		return nil, err
	}
	return p.Read(export)
}

// tell says what a plan means.
func tell(m node.Summary) []string {
	lines := []string{
		"chain id   " + m.ChainID, fmt.Sprintf("goes on    with block %d, at %s, with %d services", m.Height, m.Time.Format("2006-01-02 15:04:05 MST"), m.Services),
		"export     sha256 " + m.Export.String(), "plan       sha256 " + m.Plan.String(), "nodes      " + strings.Join(m.Nodes, " "),
	}
	for _, k := range m.Keys {
		lines = append(lines, fmt.Sprintf("key        %s (epoch %d): %d of %d members are needed; backups of nodes %v", k.GroupKey, k.Epoch, k.Needed, k.Of, k.Backups))
	}
	return lines
}

func newPlanCommand(s *settings) *cobra.Command {
	var d drill
	var nodes []string
	var without []uint
	c := &cobra.Command{
		Use:   "plan",
		Short: "Write down which chain goes on, and on which nodes",
		Long: `plan writes what the members of the recovery committee agree to. Everything in
it is public. Members compare its SHA-256, and that of the export. The new nodes are
taken on the committee's word: the chain that goes on says so (unattested_nodes),
until its authority has replaced them by nodes with evidence and rules others out.`,
		Example: "  kmsd recover plan --export export.json --node new1/successor.json --node new2/successor.json --plan plan.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			export, err := d.checked()
			if err != nil {
				return err
			}
			var successors []node.Successor
			for _, path := range nodes {
				var n node.Successor
				b, err := os.ReadFile(path)
				if err == nil {
					err = json.Unmarshal(b, &n)
				}
				if err != nil {
					return fmt.Errorf("read a new node: %w", err)
				}
				successors = append(successors, n)
			}
			var excluded []uint32
			for _, n := range without {
				excluded = append(excluded, uint32(n))
			}
			p, read, err := node.NewPlan(export, successors, excluded, time.Now())
			if err != nil {
				return err
			}
			if err := writeJSON(d.plan, p); err != nil {
				return err
			}
			return s.print(c, read.Summary(), tell(read.Summary())...)
		},
	}
	d.flags(c)
	c.Flags().StringArrayVar(&nodes, "node", nil, "file of a new node, of kmsd recover prepare; give one for each")
	c.Flags().UintSliceVar(&without, "without", nil, "nodes of before whose backups are not used, because a member found one wrong")
	return c
}

func newDealCommand(s *settings) *cobra.Command {
	var d drill
	var identity, output string
	c := &cobra.Command{
		Use:   "deal",
		Short: "Deal what you keep to the new nodes, as a member of the recovery committee",
		Long: `deal opens the pieces that your age identity opens, and deals what they make to the
nodes of the plan. Do it on a computer of your own. The file that it writes is
public: it is sealed to these nodes, and opens with exactly this plan and export.

Whoever alters the export alters who gets keys, so say which one you trust
(--trusted-hash): export it yourself, of a copy of a lost node's folder.`,
		Example: "  kmsd recover deal --export export.json --plan plan.json --trusted-hash A1B2… --identity age.key --output deal-alice.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if d.trusted == "" || output == "" {
				return usageError{fmt.Errorf("--trusted-hash and --output are needed (see %s --help)", c.CommandPath())}
			}
			identities, err := readIdentities(identity)
			if err != nil {
				return err
			}
			read, err := d.read()
			if err != nil {
				return err
			}
			deals, err := read.Deal(identities...)
			if err != nil {
				return err
			}
			if err := writeJSON(output, deals); err != nil {
				return err
			}
			lines := tell(read.Summary())
			for _, one := range deals.Deals {
				lines = append(lines, fmt.Sprintf("dealt      epoch %d as member %d: %s", one.Epoch, one.Member, output))
			}
			return s.print(c, deals, lines...)
		},
	}
	d.flags(c)
	c.Flags().StringVar(&identity, "identity", "", "file of your age identity, as age-keygen writes it")
	c.Flags().StringVarP(&output, "output", "o", "", "file to write")
	return c
}

func newInstallCommand(s *settings) *cobra.Command {
	var d drill
	var files []string
	c := &cobra.Command{
		Use:   "install",
		Short: "Take a new node's shares out of the members' deals",
		Long: `install makes a home of kmsd recover prepare one of the chain that goes on: it
takes the node's shares and writes its genesis. Use the same files on all nodes: they
then print the same SHA-256. Start the nodes after that. They make new shares, and
new backups, in their first blocks.`,
		Example: "  kmsd recover install --home new1 --export export.json --plan plan.json --deal deal-alice.json --deal deal-bob.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			read, err := d.read()
			if err != nil {
				return err
			}
			var deals []node.Deals
			for _, path := range files {
				b, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("read a member's deals: %w", err)
				}
				one, err := node.ReadDeals(b)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				deals = append(deals, one)
			}
			out, err := read.Install(s.folder(), deals)
			if err != nil {
				return err
			}
			lines := []string{"home       " + string(out.Home), "chain id   " + out.ChainID, fmt.Sprintf("threshold  %d of %d", out.Threshold, out.Nodes), "genesis    sha256 " + out.Genesis.String()}
			for i, k := range out.GroupKeys {
				lines = append(lines, fmt.Sprintf("group key  %s, dealt by members %v", k, out.Members[i]))
			}
			return s.print(c, out, lines...)
		},
	}
	d.flags(c)
	c.Flags().StringArrayVar(&files, "deal", nil, "file of a member's deals; give as many as the plan says, or more")
	return c
}

// readIdentities reads an age identity file. Errors repeat nothing of it.
func readIdentities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read your identity: %w", err)
	}
	defer func() { _ = f.Close() }()
	identities, err := age.ParseIdentities(f)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%s is no file of age identities", path).Try("it is what age-keygen wrote; decrypt it first if it is encrypted")
	}
	return identities, nil
}
