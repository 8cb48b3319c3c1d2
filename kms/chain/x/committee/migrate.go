package committee

import (
	"context"
	"fmt"
)

// ConsensusVersion is raised with every change of what the module keeps or
// computes; Migrate brings the state there.
//
//	1  nodes, rounds, epochs, groups
//	2  a recovery committee, and backups of shares for it (prefixes 15 to 17)
const ConsensusVersion = 2

// Migrate brings the module's state from a version to ConsensusVersion.
func (k Keeper) Migrate(ctx context.Context, from uint64) error {
	if from != 1 {
		return fmt.Errorf("state of version %d is not known", from)
	}
	// There was no recovery committee, and what nobody chose is a constant of
	// the program. From now on it is state, as in a new chain's genesis: how long
	// owners are told beforehand must not follow from which kmsd runs.
	rules, err := k.RecoveryRules(ctx)
	if err != nil {
		return err
	}
	return k.recovery.Set(ctx, rules)
}
