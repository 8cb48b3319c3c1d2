package main

import (
	"time"

	"github.com/spf13/cobra"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// keepers are the flags that name a recovery committee in a new genesis.
type keepers struct {
	threshold  uint32
	recipients []string
	delay      time.Duration
}

func (k *keepers) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&k.recipients, "recovery-recipient", nil, "age recipient of who keeps pieces of all shares (age-keygen -pq); give one for each member of the recovery committee")
	c.Flags().Uint32Var(&k.threshold, "recovery-threshold", 0, "so many of them hand the key to new nodes, or could read it")
	c.Flags().DurationVar(&k.delay, "recovery-delay", committee.DefaultRecoveryDelay*time.Second, "for how long another committee is announced before it gets anything; for ever")
}

// rules are what genesis says.
func (k *keepers) rules() *committee.RecoveryRules {
	r := &committee.RecoveryRules{Delay: uint64(k.delay / time.Second)}
	if len(k.recipients) != 0 || k.threshold != 0 {
		r.Current = &committee.Recovery{Threshold: k.threshold, Recipients: k.recipients}
	}
	return r
}
