package tee

import (
	"errors"
	"os"
	"testing"

	"github.com/secretvm/secretvm/tee/snp"
	"github.com/secretvm/secretvm/tee/soft"
	"github.com/secretvm/secretvm/tee/tdx"
)

func TestOpenWithoutTEE(t *testing.T) {
	if _, err := os.Stat(tdx.GuestDevice); err == nil {
		t.Skip("this machine is a TDX guest")
	}
	if _, err := os.Stat(snp.GuestDevice); err == nil {
		t.Skip("this machine is an SNP guest")
	}
	if _, err := soft.FindPort(); err == nil {
		t.Skip("this machine has a soft TEE")
	}
	if d, err := Open(); !errors.Is(err, ErrNone) || d != nil {
		t.Errorf("Open gives %v, %v, want ErrNone", d, err)
	}
}
