package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomodule/redigo/redis"
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
type Book struct{ pool *redis.Pool }

// openBook connects on first use, and again whenever the connection breaks: the
// database may start after this program.
func openBook(address string) *Book {
	return &Book{&redis.Pool{
		MaxIdle: 4, MaxActive: 32, IdleTimeout: 5 * time.Minute, Wait: true,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", address,
				redis.DialConnectTimeout(2*time.Second), redis.DialReadTimeout(5*time.Second), redis.DialWriteTimeout(5*time.Second))
		},
		TestOnBorrowContext: func(ctx context.Context, c redis.Conn, lastUsed time.Time) error {
			if time.Since(lastUsed) < 2*time.Second {
				return nil
			}
			_, err := redis.DoContext(c, ctx, "PING")
			return err
		},
	}}
}

// Close ends the connections.
func (b *Book) Close() error { return b.pool.Close() }

// do runs one command on a connection of the pool.
func (b *Book) do(ctx context.Context, command string, args ...any) (any, error) {
	c, err := b.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := redis.DoContext(c, ctx, command, args...)
	return reply, errors.Join(err, c.Close())
}

// Ping reports whether the database answers.
func (b *Book) Ping(ctx context.Context) error {
	_, err := b.do(ctx, "PING")
	return err
}

// Add stores an entry. It returns when the database has accepted it.
func (b *Book) Add(ctx context.Context, e Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	if _, err := b.do(ctx, "LPUSH", listKey, text); err != nil {
		return fmt.Errorf("store entry: %w", err)
	}
	return nil
}

// List returns the newest entries first, and how many there are in all.
func (b *Book) List(ctx context.Context) (entries []Entry, total int64, err error) {
	texts, err := redis.ByteSlices(b.do(ctx, "LRANGE", listKey, 0, maxShown-1))
	if err != nil {
		return nil, 0, fmt.Errorf("list entries: %w", err)
	}
	if total, err = redis.Int64(b.do(ctx, "LLEN", listKey)); err != nil {
		return nil, 0, fmt.Errorf("count entries: %w", err)
	}
	entries = make([]Entry, 0, len(texts))
	for _, text := range texts {
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil {
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
		return e, errors.New("that was not text")
	case e.Name == "":
		return e, errors.New("please say who you are")
	case e.Message == "":
		return e, errors.New("please write something")
	case utf8.RuneCountInString(e.Name) > maxName:
		return e, fmt.Errorf("a name has at most %d characters", maxName)
	case utf8.RuneCountInString(e.Message) > maxMessage:
		return e, fmt.Errorf("an entry has at most %d characters", maxMessage)
	}
	return e, nil
}
