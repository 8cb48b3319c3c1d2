package dev

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Engine runs commands in containers, by the API of the dockerd that listens on a
// socket (Docker Engine API 1.44).
type Engine struct{ Socket string }

const (
	engineURL = "http://docker/v1.44"
	maxAnswer = 4 << 20 // bytes
)

// Run implements Runner for services of the compose file.
func (e Engine) Run(ctx context.Context, c Command) (int, error) {
	container, err := e.find(ctx, c.Service)
	if err != nil {
		return 0, err
	}
	words := c.Words
	if len(words) == 0 {
		words = []string{"/bin/sh"}
	}
	var made struct{ ID string }
	err = e.call(ctx, http.MethodPost, "/containers/"+container+"/exec", map[string]any{
		"AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": c.Terminal != nil, "Cmd": words,
	}, &made)
	if err != nil {
		return 0, err
	}
	if err := e.attach(ctx, made.ID, c); err != nil {
		return 0, err
	}
	var ended struct{ ExitCode int }
	err = e.call(ctx, http.MethodGet, "/exec/"+made.ID+"/json", nil, &ended)
	return ended.ExitCode, err
}

// find returns the running container of a service.
func (e Engine) find(ctx context.Context, service string) (string, error) {
	filters, err := json.Marshal(map[string][]string{"label": {"com.docker.compose.service=" + service}})
	if err != nil {
		return "", err
	}
	var list []struct{ ID string }
	if err := e.call(ctx, http.MethodGet, "/containers/json?filters="+url.QueryEscape(string(filters)), nil, &list); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("no container of service %q runs", service)
	}
	return list[0].ID, nil
}

// attach starts a command and carries its input and output until it ends.
func (e Engine) attach(ctx context.Context, id string, c Command) error {
	conn, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := e.request(ctx, http.MethodPost, "/exec/"+id+"/start", map[string]any{"Tty": c.Terminal != nil})
	if err != nil {
		return err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("ask dockerd: %w", err)
	}
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, req)
	if err != nil {
		return fmt.Errorf("ask dockerd: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return refused(resp)
	}
	go func() {
		_, _ = io.Copy(conn, c.In)
		if half, ok := conn.(*net.UnixConn); ok {
			_ = half.CloseWrite()
		}
	}()
	if c.Terminal == nil {
		return separate(from, c.Out, c.Err)
	}
	go e.resize(ctx, id, c)
	_, err = io.Copy(c.Out, from)
	return err
}

// resize keeps the size of the command's terminal.
func (e Engine) resize(ctx context.Context, id string, c Command) {
	size := *c.Terminal
	for {
		_ = e.call(ctx, http.MethodPost, fmt.Sprintf("/exec/%s/resize?w=%d&h=%d", id, size.Columns, size.Rows), nil, nil)
		select {
		case size = <-c.Resize:
		case <-ctx.Done():
			return
		}
	}
}

// separate reads frames of a stream, a byte of padded kind and a big-endian length.
func separate(from io.Reader, out, err io.Writer) error {
	for {
		var head [8]byte
		if _, e := io.ReadFull(from, head[:]); e != nil {
			if errors.Is(e, io.EOF) {
				return nil
			}
			return fmt.Errorf("read the command's output: %w", e)
		}
		to := out
		if head[0] == 2 {
			to = err
		}
		if _, e := io.CopyN(to, from, int64(binary.BigEndian.Uint32(head[4:]))); e != nil {
			return fmt.Errorf("read the command's output: %w", e)
		}
	}
}

func (e Engine) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", e.Socket)
	if err != nil {
		return nil, fmt.Errorf("there is no container engine yet: %w", err)
	}
	return c, nil
}

func (e Engine) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, engineURL+path, bytes.NewReader(text))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// call asks dockerd and reads its answer into out, if there is to be one.
func (e Engine) call(ctx context.Context, method, path string, body, out any) error {
	req, err := e.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx) },
		DisableKeepAlives: true,
	}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask dockerd: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refused(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read dockerd's answer: %w", err)
	}
	return nil
}

func refused(resp *http.Response) error {
	var said struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&said)
	return fmt.Errorf("dockerd: %s: %s", resp.Status, said.Message)
}
