package api_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/ipc/ipctest"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// TestMain is also the program of the process that answers containers.
func TestMain(m *testing.M) { ipctest.Main(m, proof.Part, api.Run) }

// tracked are commands, of which the last can be killed.
type tracked struct {
	mu   sync.Mutex
	last *exec.Cmd
}

func (c *tracked) Start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = cmd
	return cmd.Start()
}

func (c *tracked) Wait(cmd *exec.Cmd) error { return cmd.Wait() }

func (c *tracked) kill() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.last.Process.Kill()
	return c.last.Process.Pid
}

// TestW2_ProcessWithoutRightsAnswers: containers are answered by a process of a
// user without rights. It ends and comes again, on the same sockets and with the
// same keys; what was logged before stays logged.
func TestW2_ProcessWithoutRightsAnswers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start processes of other users")
	}
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Config.API = vm.API{"web": {"event", "info", "key/wallet", "quote", "sign/ed25519"}}
	})
	program, dir := ipctest.Program(t)
	desk, asked, asks := proof.New(m, m.Config), filepath.Join(dir, "asked"), filepath.Join(dir, "asks")
	l, err := ipc.Listen(t.Context(), asked, ipc.UserAPI)
	if err != nil {
		t.Fatal(err)
	}
	go desk.Server().Serve(t.Context(), l)
	paths, services, files, err := proof.Listen(t.Context(), filepath.Join(dir, "s"), m.Config.API)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ipc.Hand(t.Context(), asks, 0)
	if err != nil {
		t.Fatal(err)
	}
	secret := ipc.Secret(bytes.Repeat([]byte{7}, 32))
	commands := &tracked{}
	stop, err := ipc.Service{
		Program: program, Part: proof.Part, User: ipc.UserAPI, Files: append([]*os.File{own}, files...),
		Settings: proof.Settings{
			Socket: asked, TEE: vm.Soft, Config: m.Canonical, Events: m.Events, Services: services,
			Keys: []proof.Key{{Name: "key/wallet", Secret: secret}, {Name: "sign/ed25519", Secret: secret}},
		},
	}.Keep(t.Context(), commands, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(context.Background())
	client := ipc.Dial(asks, proof.Errors)
	defer client.Close()
	public, err := ipc.Ask[struct{}, []proof.Public](t.Context(), client, proof.AskPublic, struct{}{})
	if err != nil || len(public) != 1 {
		t.Fatalf("%v, %v", public, err)
	}
	if err := desk.Show(public); err != nil {
		t.Fatal(err)
	}
	web := guestapi.New(paths["web"])
	var first string
	for life := 1; life <= 2; life++ {
		evidence, err := web.Quote(t.Context(), []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := attest.Verify(evidence, attest.Options{Roots: m.Roots(), Time: time.Now()})
		if want := vm.WorkloadReportData([]byte("data")); err != nil || !bytes.Equal(verdict.ReportData, want[:]) {
			t.Errorf("life %d: quoted %x, %v", life, verdict.ReportData, err)
		}
		key, err := web.Key(t.Context(), "wallet")
		if err != nil || !bytes.Equal(key.Bytes(), secret) {
			t.Errorf("life %d: a key: %v", life, err)
		}
		if k, err := web.PublicKey(t.Context(), vm.SignEd25519); err != nil || k.PEM != string(public[0].PEM) {
			t.Errorf("life %d: the public key is %s, %v", life, k.PEM, err)
		}
		signature, err := web.Sign(t.Context(), vm.SignEd25519, "message")
		if first == "" {
			first = string(signature)
		}
		if err != nil || string(signature) != first {
			t.Errorf("life %d: signed %x, %v", life, signature, err)
		}
		logged, err := web.Event(t.Context(), fmt.Sprint("life-", life), nil)
		if err != nil || logged.Events != life {
			t.Fatalf("life %d: %+v, %v", life, logged, err)
		}
		q, err := web.Application(t.Context(), nil)
		if err != nil || len(q.ApplicationEvents) != life || *q.ApplicationRegister != logged.ApplicationRegister {
			t.Errorf("life %d: the log is %+v, %v", life, q.ApplicationEvents, err)
		}
		if replayed, err := vm.ReplayApplication(q.ApplicationEvents); err != nil || replayed != logged.ApplicationRegister {
			t.Errorf("life %d: the log does not fold into its register: %v", life, err)
		}
		if life == 1 {
			pid := commands.kill()
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if uid := fmt.Sprintf("Uid:\t%d\t", ipc.UserAPI); len(status) > 0 && !strings.Contains(string(status), uid) {
				t.Errorf("it was not of its user:\n%s", status)
			}
		}
	}
}
