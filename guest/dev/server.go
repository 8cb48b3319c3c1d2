// Package dev is what an image for development has beside others: commands in the
// machine and its containers, asked for over SSH (RFC 4254), and a shell on the
// console. Its operator may do everything. No other image holds it (cmd/guest-dev),
// and this image says what it is in what it measures.
//
// The user of a connection names a service of the compose file, or vm.DevMachine. A
// command is a JSON array of words, or a line without quoting.
package dev

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Terminal is the size of the window of whoever asks.
type Terminal struct{ Columns, Rows uint32 }

// Command is what somebody wants run.
type Command struct {
	Service  string    // or vm.DevMachine
	Words    []string  // none: a shell
	Terminal *Terminal // nil: none
	Resize   <-chan Terminal
	In       io.Reader
	Out, Err io.Writer
}

// Runner runs a command and returns its exit status.
type Runner func(ctx context.Context, c Command) (status int, err error)

// Server answers whoever has the private part of a key.
type Server struct {
	config *ssh.ServerConfig
	run    Runner
}

// NewServer makes a server for the owner of key, a line as ssh-keygen writes it.
// Its own key is new: nothing of this machine is worth proving.
func NewServer(key string, run Runner) (*Server, error) {
	allowed, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(key))
	if err == nil && len(rest) > 0 {
		err = errors.New("more than one line")
	}
	if err != nil {
		return nil, fmt.Errorf("the host's hint dev_key is no public key: %w", err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	own, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
			if string(offered.Marshal()) != string(allowed.Marshal()) {
				return nil, errors.New("another key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(own)
	return &Server{config: config, run: run}, nil
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("serve commands: %w", err)
		}
		go s.connection(ctx, c)
	}
}

func (s *Server) connection(ctx context.Context, c net.Conn) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		if wanted.ChannelType() != "session" {
			_ = wanted.Reject(ssh.UnknownChannelType, "commands only")
			continue
		}
		if channel, requests, err := wanted.Accept(); err == nil {
			go s.session(ctx, conn.User(), channel, requests)
		}
	}
}

// session serves the requests of one channel (RFC 4254, 6).
func (s *Server) session(ctx context.Context, user string, channel ssh.Channel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resize := make(chan Terminal, 1)
	c := Command{Service: user, Resize: resize, In: channel, Out: channel, Err: channel.Stderr()}
	started := false
	for r := range requests {
		ok := false
		switch r.Type {
		case "pty-req":
			var p struct {
				Term                         string
				Columns, Rows, Width, Height uint32
				Modes                        string
			}
			if ok = ssh.Unmarshal(r.Payload, &p) == nil; ok {
				c.Terminal = &Terminal{p.Columns, p.Rows}
			}
		case "window-change":
			var w struct{ Columns, Rows, Width, Height uint32 }
			if ok = ssh.Unmarshal(r.Payload, &w) == nil; ok {
				select {
				case resize <- Terminal{w.Columns, w.Rows}:
				default:
				}
			}
		case "exec", "shell":
			var p struct{ Line string }
			ok = !started && (r.Type == "shell" || ssh.Unmarshal(r.Payload, &p) == nil)
			if ok {
				started, c.Words = true, words(p.Line)
				go s.finish(ctx, c, channel)
			}
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
	}
}

// finish runs the command and says how it ended.
func (s *Server) finish(ctx context.Context, c Command, channel ssh.Channel) {
	status, err := s.run(ctx, c)
	if err != nil {
		fmt.Fprintf(c.Err, "%v\n", err)
		status = 255 // as ssh says of its own failures
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	channel.Close()
}

func words(line string) (out []string) {
	if json.Unmarshal([]byte(line), &out) == nil {
		return out
	}
	return strings.Fields(line)
}
