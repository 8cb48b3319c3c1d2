// Command web is a guest book: it lists what people wrote and lets them add to
// it. Entries are kept in Valkey (or Redis).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", ":8080", "`address` to listen on")
	check := flag.Bool("check", false, "ask the running guest book whether it is healthy, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := serve
	if *check {
		run = checkHealth
	}
	if err := run(ctx, *listen); err != nil {
		slog.Error("guest book", "error", err)
		os.Exit(1)
	}
}

// serve answers requests until ctx ends.
func serve(ctx context.Context, listen string) error {
	address := os.Getenv("DATABASE")
	if address == "" {
		return errors.New("the variable DATABASE does not name the database, as host:port")
	}
	book := openBook(address)
	server := &http.Server{
		Addr: listen, Handler: newHandler(book),
		ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	slog.Info("guest book is open", "listen", listen, "database", address)
	select {
	case err := <-done:
		return fmt.Errorf("listen: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(last), book.Close())
}

// checkHealth is what the container's health check runs: the image has no shell
// and no other client.
func checkHealth(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("check health: status %s", res.Status)
	}
	return nil
}
