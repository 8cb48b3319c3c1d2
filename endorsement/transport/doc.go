// Package transport asks the vendors' services: bounded in size, time and
// tries, and polite to a host that is in trouble.
//
// A failure that may pass (no connection, a cut answer, 429, 5xx) is tried
// again after a pause that doubles and is jittered, or after the one that the
// server asks for. The pauses are kept per host, so that several requests to a
// host that is down share one experience instead of each making its own. What
// the answer means is for the caller; nothing here is trusted with more than
// having delivered bytes.
package transport
