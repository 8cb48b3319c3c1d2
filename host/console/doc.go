// Package console reads what a guest prints on its serial line. Everything
// there is the guest's word, for display only: nothing is decided by it, and
// nothing of it reaches a terminal or a log before control characters are gone.
package console
