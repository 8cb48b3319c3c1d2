package volume

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/secretvm/secretvm/disk/luks"
)

// TestD5_PowerCutWhileTheKeyIsRenewed cuts the power before and within every
// write of the boot that moves a disk to the key of a newer epoch. The next boot
// opens it, also when yet another epoch has begun meanwhile, and afterwards the
// newest key alone does.
func TestD5_PowerCutWhileTheKeyIsRenewed(t *testing.T) {
	first, second, third := luks.Key{1}, luks.Key{2}, luks.Key{3}
	for _, next := range []struct {
		key   luks.Key
		older []luks.Key
	}{{second, []luks.Key{first}}, {third, []luks.Key{second, first}}} {
		cuts := 0
		for cut := 1; ; cut++ {
			m, o := newMachine(t)
			v, err := Open(t.Context(), o)
			if err == nil {
				err = errors.Join(v.SetGeneration(1), v.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			m.boot(cut)
			o.Generation, o.Key, o.Older = 1, second, []luks.Key{first}
			v, err = Open(t.Context(), o)
			if err == nil {
				if !v.Renewed || m.ops >= cut {
					t.Fatalf("no cut at %d: %+v", cut, v)
				}
				m.boot(0)
				o.Older = nil
				if v, err := Open(t.Context(), o); err != nil || v.Renewed || m.writes > 0 {
					t.Errorf("with the new key alone: %+v, %v", v, err)
				}
				o.Key = first
				if _, err := Open(t.Context(), o); !errors.Is(err, luks.ErrWrongKey) {
					t.Errorf("with the old key: %v", err)
				}
				break
			}
			if !errors.Is(err, errPowerCut) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			cuts++
			m.boot(0)
			o.Key, o.Older = next.key, next.older
			if _, err := Open(t.Context(), o); err != nil {
				t.Fatalf("after a cut at %d: %v", cut, err)
			}
			m.boot(0)
			o.Older = nil
			if v, err := Open(t.Context(), o); err != nil || v.Generation != 1 || v.Renewed {
				t.Errorf("after a cut at %d, with the newest key alone: %+v, %v", cut, v, err)
			}
		}
		if cuts < 7 {
			t.Errorf("%d cuts: the test lost them", cuts)
		}
	}
}

// TestD4_RolledBackDiskIsNotRenewed: an old copy is refused as it is.
func TestD4_RolledBackDiskIsNotRenewed(t *testing.T) {
	m, o := newMachine(t)
	v, err := Open(t.Context(), o)
	if err == nil {
		err = errors.Join(v.SetGeneration(1), v.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	m.boot(0)
	o.Generation, o.Key, o.Older = 2, luks.Key{2}, []luks.Key{o.Key}
	before, _ := os.ReadFile(o.Device)
	_, err = Open(t.Context(), o)
	if after, _ := os.ReadFile(o.Device); !errors.Is(err, ErrRolledBack) || m.writes > 0 || !bytes.Equal(before, after) {
		t.Errorf("%v, %d writes", err, m.writes)
	}
}

// TestD3_UsedDiskIsNeverPreparedAgain: whatever is wrong with the tags of a disk
// that a workload has written to, it stays as it is.
func TestD3_UsedDiskIsNeverPreparedAgain(t *testing.T) {
	for name, damage := range map[string]func(*machine){
		"superblock": func(m *machine) { m.super = false },
		"blocks":     func(m *machine) { m.written = false },
		"both gone":  func(m *machine) { m.super, m.hasFS = false, false },
	} {
		m, o := newMachine(t)
		o.Integrity = true
		v, err := Open(t.Context(), o)
		if err != nil || !v.Formatted || !m.checked {
			t.Fatalf("%s: %+v, %v", name, v, err)
		}
		if err := errors.Join(v.SetGeneration(1), v.Close()); err != nil || m.mapped || m.checked {
			t.Fatalf("%s: close: %v, mapped %t, checked %t", name, err, m.mapped, m.checked)
		}
		m.boot(0)
		damage(m)
		o.Generation = 1
		super, written := m.super, m.written
		if _, err := Open(t.Context(), o); err == nil || m.super != super || m.written != written || m.mapped || m.checked {
			t.Errorf("%s: %v, or it was prepared again", name, err)
		}
	}
}
