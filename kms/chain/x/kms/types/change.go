package types

// The kinds of changes.
const (
	ChangeCreate   = "create"
	ChangeAdd      = "add-image"
	ChangeRevoke   = "revoke-image"
	ChangePolicy   = "policy"
	ChangeFreeze   = "freeze"
	ChangeSeal     = "seal"
	ChangeTransfer = "transfer"
	ChangeRollback = "accept-rollback"
)

// Describe says in a word what a change of policy did.
func Describe(loosened bool) string {
	if loosened {
		return "looser"
	}
	return "stricter"
}
