package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Limits of one entry, in characters, and of the list that is shown.
const (
	maxName    = 60
	maxMessage = 1000
	maxShown   = 100
)

// listKey is the list of entries, the newest first.
const listKey = "guestbook:entries"

// Entry is what one person wrote.
type Entry struct {
	Name    string    `json:"name"`
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
}

// Book keeps entries in the database.
type Book struct{ db *redis.Client }

// openBook connects on first use, and again whenever the connection breaks: the
// database may start after this program.
func openBook(address string) *Book {
	return &Book{redis.NewClient(&redis.Options{
		Addr: address, DialTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		MaxRetries: 2, PoolSize: 10,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}
}

// Close ends the connections.
func (b *Book) Close() { _ = b.db.Close() }

// Ping reports whether the database answers.
func (b *Book) Ping(ctx context.Context) error { return b.db.Ping(ctx).Err() }

// Add stores an entry. It returns when the database has accepted it.
func (b *Book) Add(ctx context.Context, e Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	if err := b.db.LPush(ctx, listKey, text).Err(); err != nil {
		return fmt.Errorf("store entry: %w", err)
	}
	return nil
}

// List returns the newest entries first, and how many there are in all.
func (b *Book) List(ctx context.Context) (entries []Entry, total int64, err error) {
	texts, err := b.db.LRange(ctx, listKey, 0, maxShown-1).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("list entries: %w", err)
	}
	if total, err = b.db.LLen(ctx, listKey).Result(); err != nil {
		return nil, 0, fmt.Errorf("count entries: %w", err)
	}
	entries = make([]Entry, 0, len(texts))
	for _, text := range texts {
		var e Entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, 0, fmt.Errorf("decode stored entry: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, total, nil
}

// newEntry checks and tidies what a person sent. Its errors are for that person.
func newEntry(name, message string, now time.Time) (Entry, error) {
	e := Entry{Name: strings.TrimSpace(name), Message: strings.TrimSpace(message), Time: now.UTC().Truncate(time.Second)}
	switch {
	case !utf8.ValidString(e.Name) || !utf8.ValidString(e.Message):
		return e, fmt.Errorf("that was not text")
	case e.Name == "":
		return e, fmt.Errorf("please say who you are")
	case e.Message == "":
		return e, fmt.Errorf("please write something")
	case utf8.RuneCountInString(e.Name) > maxName:
		return e, fmt.Errorf("a name has at most %d characters", maxName)
	case utf8.RuneCountInString(e.Message) > maxMessage:
		return e, fmt.Errorf("an entry has at most %d characters", maxMessage)
	}
	return e, nil
}
