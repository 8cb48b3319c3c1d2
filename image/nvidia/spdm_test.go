//go:build driver

package nvidia

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// TestMain lets this program be what a build starts first.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "enter" {
		code, err := foundry.Enter(os.Args[2], os.Args[3], os.Args[4:])
		fmt.Fprintln(os.Stderr, err)
		os.Exit(code)
	}
	os.Exit(m.Run())
}

//go:embed testdata/spdm
var spdmFiles embed.FS

// silent is a step.Reporter that nobody watches.
type silent struct{}

func (silent) Started(string)       {}
func (silent) Finished(step.Result) {}

// SPDMCheck builds a module of the driver's own cryptography which tries that out.
// Parameters are what it verifies, made by Go's.
func SPDMCheck(t *testing.T, cache string, packages *pool.Pool) (module []byte, parameters string) {
	t.Helper()
	r, err := Recipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Variant, r.Notable = "spdm check", nil
	both := fstest.MapFS{}
	for _, from := range []fs.FS{inputs, spdmFiles} {
		err := fs.WalkDir(from, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := fs.ReadFile(from, name)
			both[path.Base(name)] = &fstest.MapFile{Data: text} // its build.sh instead of ours
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.Inputs = both
	r.File = "spdm_check.ko"
	r.SHA256 = vm.HashOf(nil) // the module is no product, and nobody keeps it
	r.Finish = func(root *os.Root) (_ []byte, err error) {
		module, err = root.ReadFile(foundry.Dir + "/spdm/spdm_check.ko")
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := foundry.Options{CacheDir: cache, WorkDir: t.TempDir(), Fresh: true, Enter: []string{self, "enter"}, Pool: packages, Report: silent{}}
	if _, err := foundry.Build(context.WithoutCancel(t.Context()), r, o); err != nil {
		t.Fatal(err)
	}
	return module, spdmParameters(t)
}

func spdmParameters(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	message, secret := make([]byte, 64), make([]byte, 48)
	rand.Read(message)
	rand.Read(secret)
	digest := sha512.Sum384(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha512.New384, secret)
	mac.Write(message)
	var out []string
	for name, value := range map[string][]byte{
		"key":    public[1:], // X and Y, without the form of the point
		"digest": digest[:], "signature": append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...),
		"secret": secret, "message": message, "hmac": mac.Sum(nil),
	} {
		out = append(out, name+"="+hex.EncodeToString(value))
	}
	return strings.Join(out, " ")
}
