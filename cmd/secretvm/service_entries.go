package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// logEntry is one decision of the chain or change by an owner.
type logEntry struct {
	Time     time.Time  `json:"time"`
	Height   int64      `json:"height"`
	Kind     string     `json:"kind"`  // granted, refused, or what the owner did
	Count    uint64     `json:"count"` // of the same refusal; else 1
	By       string     `json:"by,omitempty"`
	Instance string     `json:"instance_id,omitempty"`
	Image    *uint64    `json:"image,omitempty"`
	Code     string     `json:"code,omitempty"`
	Text     string     `json:"text,omitempty"`
	Field    string     `json:"field,omitempty"` // of a refusal: what differs
	Found    string     `json:"found,omitempty"`
	Wanted   string     `json:"wanted,omitempty"`
	Hint     string     `json:"hint,omitempty"`
	Grant    []byte     `json:"grant,omitempty"`     // id
	ActiveAt *time.Time `json:"active_at,omitempty"` // of a change
}

// row is a row of the node's grants, refusals or changes. Numbers of 64 bits are
// texts there.
type row struct {
	ID       []byte `json:"id"`
	Seq      uint64 `json:"seq,string"`
	Height   int64  `json:"height,string"`
	Time     int64  `json:"time,string"`
	Count    uint64 `json:"count,string"`
	Instance string `json:"vm_uid"`
	Image    uint64 `json:"image,string"`
	TCB      string `json:"tcb_status"`
	TEE      string `json:"tee"`
	Code     string `json:"code"`
	Field    string `json:"field"`
	Found    string `json:"found"`
	Wanted   string `json:"wanted"`
	Reason   string `json:"reason"`
	Hint     string `json:"hint"`
	Kind     string `json:"kind"`
	Detail   string `json:"detail"`
	By       string `json:"by"`
	ActiveAt int64  `json:"active_at,string"`
}

// page is one page of such rows.
type page struct {
	Grants     []row `json:"grants"`
	Refusals   []row `json:"refusals"`
	Changes    []row `json:"changes"`
	Pagination struct {
		Next string `json:"next_key"` // base64
	} `json:"pagination"`
}

// onePage is how many rows are asked for at a time.
const onePage = "100"

// unseen reads what is not in seen, the newest limit (0: all), oldest first, and
// adds it to seen.
func (o *owner) unseen(ctx context.Context, id string, seen map[string]bool, limit int) ([]logEntry, error) {
	entries := []logEntry{}
	for _, kind := range []string{"changes", "refusals", "grants"} {
		found, err := o.newest(ctx, id, kind, seen, limit)
		if err != nil {
			return nil, err
		}
		entries = append(entries, found...)
	}
	// Of one block, what owners did comes before what was decided.
	slices.SortStableFunc(entries, func(a, b logEntry) int { return cmp.Compare(a.Height, b.Height) })
	if limit > 0 && len(entries) > limit {
		entries = entries[len(entries)-limit:]
	}
	return entries, nil
}

// newest reads rows of one kind from the newest on, until there are limit or
// until one is in seen, and returns them oldest first.
func (o *owner) newest(ctx context.Context, id, kind string, seen map[string]bool, limit int) ([]logEntry, error) {
	var out []logEntry
	for key, more := "", true; more; {
		values := url.Values{"service": {id}, "pagination.limit": {onePage}, "pagination.reverse": {"true"}}
		if key != "" {
			values.Set("pagination.key", key)
		}
		var p page
		if err := o.read(ctx, "/secretvm/kms/v1/"+kind+"?"+values.Encode(), &p); err != nil {
			return nil, err
		}
		for _, r := range slices.Concat(p.Grants, p.Refusals, p.Changes) {
			if seen[r.identity(kind)] {
				// An older refusal that came again stands where it stood.
				more = more && kind == "refusals"
				continue
			}
			seen[r.identity(kind)] = true
			if out = append(out, r.entry(kind)); len(out) == limit {
				more = false
			}
		}
		if p.Pagination.Next == "" || p.Pagination.Next == key {
			more = false
		}
		key = p.Pagination.Next
	}
	slices.Reverse(out)
	return out, nil
}

// identity tells rows of a service apart; a refusal that was repeated is another
// one.
func (r row) identity(kind string) string {
	return fmt.Sprintf("%s %x %d %d", kind, r.ID, r.Seq, r.Count)
}

func (r row) entry(kind string) logEntry {
	e := logEntry{Time: time.Unix(r.Time, 0).UTC(), Height: r.Height, Count: max(1, r.Count), Instance: r.Instance}
	switch kind {
	case "grants":
		e.Kind, e.Image, e.Grant, e.Text = "granted", &r.Image, r.ID, strings.TrimSpace(r.TEE+" "+r.TCB)
	case "refusals":
		e.Kind, e.Code, e.Text, e.Field, e.Found, e.Wanted, e.Hint = "refused", r.Code, r.Reason, r.Field, r.Found, r.Wanted, r.Hint
	default:
		e.Kind, e.Text, e.By = r.Kind, r.Detail, r.By
		if r.Kind == "add-image" || r.Kind == "revoke-image" {
			e.Image = &r.Image
		}
		if r.ActiveAt != 0 {
			at := time.Unix(r.ActiveAt, 0).UTC()
			e.ActiveAt = &at
		}
	}
	return e
}
