package linux

import (
	"slices"
	"strings"
	"testing"
)

func TestParseFragment(t *testing.T) {
	text := "# --- words\nCONFIG_A=y\n\nCONFIG_B_2=256\nCONFIG_C=\"a b\"\n# CONFIG_D is not set\n"
	want := []Option{{"CONFIG_A", "y"}, {"CONFIG_B_2", "256"}, {"CONFIG_C", `"a b"`}, {"CONFIG_D", ""}}
	got, err := ParseFragment([]byte(text))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, c := range []struct{ name, text, wantErr string }{
		{"no prefix", "SMP=y", "line 1"},
		{"blank before the value", "\nCONFIG_SMP= y", "line 2"},
		{"no value", "CONFIG_SMP=", "neither an option nor a comment"},
		{"nearly a switch", "# CONFIG_SMP is not set.", "neither an option nor a comment"},
		{"commented out", "#CONFIG_SMP=y", "neither an option nor a comment"},
		{"twice", "CONFIG_SMP=y\n# CONFIG_SMP is not set", "CONFIG_SMP is there twice"},
	} {
		if _, err := ParseFragment([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want one about %q", c.name, err, c.wantErr)
		}
	}
}

// Every line of the fragment that the configuration does not hold is named, and
// so is every name that the source does not know: make says nothing of either.
func TestJudgeNamesEveryUnmetLine(t *testing.T) {
	config := "# Linux/x86 7.3.4 Kernel Configuration\nCONFIG_SMP=y\nCONFIG_NR_CPUS=256\n# CONFIG_NUMA is not set\nCONFIG_LSM=\"yama\"\nCONFIG_MITIGATION_A=y\n"
	source := "config SMP\n\tbool\nmenuconfig NUMA\nconfig NR_CPUS\n  config LSM\nconfig TUN\nconfig MITIGATION_A\n"
	whole := "CONFIG_SMP=y\nCONFIG_NR_CPUS=256\n# CONFIG_NUMA is not set\nCONFIG_LSM=\"yama\"\n# CONFIG_TUN is not set\nCONFIG_MITIGATION_A=y\n"
	for _, c := range []struct {
		name, fragment, source string
		want                   []string // "" is no error
	}{
		{"all met; off may be absent", whole, source, nil},
		{"misspelt", whole + "CONFIG_SPM=y\n", source, []string{"CONFIG_SPM=y: did not take effect", "CONFIG_SPM: this source has no such option"}},
		{"misspelt and off", whole + "# CONFIG_NUMAA is not set\n", source, []string{"CONFIG_NUMAA: this source has no such option"}},
		{"depends on what is off", whole + "CONFIG_X=y\n", source + "config X\n", []string{"CONFIG_X=y: did not take effect"}},
		{"another number", strings.Replace(whole, "256", "64", 1), source, []string{"CONFIG_NR_CPUS=64: did not take effect"}},
		{"another text", strings.Replace(whole, "yama", "lockdown,yama", 1), source, []string{`CONFIG_LSM="lockdown,yama": did not take effect`}},
		{"on after all", strings.Replace(whole, "CONFIG_SMP=y", "# CONFIG_SMP is not set", 1), source, []string{"# CONFIG_SMP is not set: did not take effect"}},
		{"off after all", strings.Replace(whole, "# CONFIG_NUMA is not set", "CONFIG_NUMA=y", 1), source, []string{"CONFIG_NUMA=y: did not take effect"}},
		{"a new mitigation", whole, source + "config MITIGATION_B\n", []string{"CONFIG_MITIGATION_B: a mitigation that minimal.config does not list"}},
		{"several", whole + "CONFIG_X=y\nCONFIG_Y=y\n", source, []string{"4 lines", "CONFIG_X=y", "CONFIG_Y=y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fragment, err := ParseFragment([]byte(c.fragment))
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			declared([]byte(c.source), names)
			err = judge(fragment, []byte(config), names)
			if len(c.want) == 0 && err != nil {
				t.Errorf("error is %v, want none", err)
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want one with %q", err, want)
				}
			}
		})
	}
}

// What decision 15 says of user-visible options is what the kernel has.
func TestFragmentHoldsTheDecisions(t *testing.T) {
	fragment, err := Fragment()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, o := range fragment {
		values[o.Name] = o.Value
	}
	for name, want := range map[string]string{
		"MODULES": "", "USER_NS": "", "IO_URING": "", "TUN": "", "NUMA": "", "VSOCKETS": "", "BLK_DEV_LOOP": "", "SWAP": "",
		"DM_INTEGRITY": "y", "NF_TABLES": "y", "NFT_REJECT_INET": "y", "NFT_CT": "y",
		"CPU_MITIGATIONS": "y", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY": "y",
		"INTEL_TDX_GUEST": "y", "SEV_GUEST": "y", "TSM_MEASUREMENTS": "y", "UNACCEPTED_MEMORY": "y",
	} {
		if got, ok := values["CONFIG_"+name]; !ok || got != want {
			t.Errorf("CONFIG_%s is %q (listed: %v), want %q", name, got, ok, want)
		}
	}
	// Nothing may be a module, and nothing random.
	for _, o := range fragment {
		if o.Value == "m" || strings.HasPrefix(o.Name, "CONFIG_RANDSTRUCT") && o.Value != "" {
			t.Errorf("%s", o)
		}
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add([]byte("CONFIG_A=y\n# CONFIG_B is not set\n# words\n"))
	f.Add([]byte("CONFIG_A=\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		options, err := ParseFragment(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, o := range options {
			again.WriteString(o.String() + "\n")
		}
		got, err := ParseFragment([]byte(again.String()))
		if err != nil || !slices.Equal(got, options) {
			t.Errorf("%q reads as %v, and written again as %v (%v)", text, options, got, err)
		}
	})
}
