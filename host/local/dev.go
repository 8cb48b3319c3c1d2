package local

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// Files in the folder of a machine that runs an image for development.
const (
	devKeyName  = "dev-key.pem"
	devPortName = "dev.json"
)

// devDoor is where such a machine takes commands.
type devDoor struct {
	Port int `json:"port"` // of this computer
}

// openDoor makes the key that a machine with an image for development takes commands
// of, and chooses the port; nothing for others.
func (in *Installation) openDoor() (key string, door []qemu.Forward, err error) {
	folder := in.folder.Dir()
	if !in.image.Manifest.Dev {
		return "", nil, errors.Join(removeFile(filepath.Join(folder, devPortName)), removeFile(filepath.Join(folder, devKeyName)))
	}
	in.o.Warn("the image is for development: whoever runs this computer can run commands in the machine (secretvm exec %s), and verifiers refuse it", filepath.Base(folder))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, fmt.Errorf("make a key for commands: %w", err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return "", nil, fmt.Errorf("make a key for commands: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", nil, fmt.Errorf("make a key for commands: %w", err)
	}
	port, err := reserve(0, vm.DevPort, "commands")
	if err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(devDoor{port})
	if err != nil {
		return "", nil, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(folder, devKeyName), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(folder, devPortName), append(text, '\n'), 0o600))
	return string(ssh.MarshalAuthorizedKey(public)), []qemu.Forward{{Host: port, Guest: vm.DevPort}}, err
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Commands connects to where a machine of up takes commands for one of its services,
// or for itself.
func Commands(state string, tee vm.TEE, machine, user string) (*ssh.Client, error) {
	folder := filepath.Join(Options{State: state, TEE: tee}.home(), "machines", filepath.Base(machine))
	text, err := os.ReadFile(filepath.Join(folder, devPortName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, vm.Refuse(vm.CodePermission, "no machine %s with an image for development runs here, and others take no commands", machine).
			Try("secretvm image build --dev --output FOLDER, then secretvm up --image FOLDER")
	}
	var door devDoor
	if err == nil {
		err = json.Unmarshal(text, &door)
	}
	if err != nil {
		return nil, fmt.Errorf("find the machine: %w", err)
	}
	secret, err := os.ReadFile(filepath.Join(folder, devKeyName))
	if err != nil {
		return nil, fmt.Errorf("find the machine: %w", err)
	}
	key, err := ssh.ParsePrivateKey(secret)
	if err != nil {
		return nil, fmt.Errorf("find the machine: %s: %w", devKeyName, err)
	}
	client, err := ssh.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(door.Port)), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, Timeout: 10 * time.Second,
		// The machine is this computer's own and proves nothing to its operator; a
		// stranger at the port would learn a command, and has no key to have it run.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // as said
	})
	if err != nil {
		return nil, fmt.Errorf("connect to machine %s: %w (does it run?)", machine, err)
	}
	return client, nil
}
