package vm

import (
	"bytes"
	"strings"
	"testing"
)

func testConfig() Config {
	return Config{
		Version: 1, ComposeHash: HashOf([]byte("services: {}\n")), Service: "svm1owner/guestbook",
		KMS:        KMS{ChainID: "secretvm-local-1", GroupKey: strings.Repeat("8a", 96)},
		InstanceID: strings.Repeat("0f", 16), TLS: "self", Open: []string{"compose"}, Images: "digest", GPU: "none",
	}
}

// secretNetwork makes a config of the other provider.
func secretNetwork(c *Config) {
	pin := strings.Repeat("5c", 32)
	c.Service = "secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as/guestbook"
	c.KMS = KMS{ChainID: "secret-4", Provider: ProviderSecretNetwork, Contract: &Contract{CodeHash: pin, ConsensusKey: pin}}
}

// TestCanonicalFormOfBefore: fields that came later do not change the bytes of a
// config that does without them.
func TestCanonicalFormOfBefore(t *testing.T) {
	got, err := testConfig().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"compose_hash":"` + HashOf([]byte("services: {}\n")).String() + `","service":"svm1owner/guestbook",` +
		`"kms":{"chain_id":"secretvm-local-1","group_key":"` + strings.Repeat("8a", 96) + `"},"instance_id":"` + strings.Repeat("0f", 16) +
		`","disk":{"ephemeral":false,"integrity":false},"tls":"self","open":["compose"],"images":"digest","gpu":"none"}`
	if string(got) != want {
		t.Errorf("canonical form is\n%s\nwant\n%s", got, want)
	}
}

func TestConfigValidate(t *testing.T) {
	key := strings.Repeat("8a", 96)
	tests := []struct {
		name    string
		change  func(*Config)
		wantErr string
	}{
		{"good", func(*Config) {}, ""},
		{"version", func(c *Config) { c.Version = 2 }, "version is 2"},
		{"no compose", func(c *Config) { c.ComposeHash = Hash{} }, "compose_hash is missing"},
		{"service without owner", func(c *Config) { c.Service = "guestbook" }, "want <owner>/<name>"},
		{"service in capitals", func(c *Config) { c.Service = "svm1owner/Guestbook" }, "want <owner>/<name>"},
		{"chain id", func(c *Config) { c.KMS.ChainID = "a b" }, "chain_id"},
		{"short group key", func(c *Config) { c.KMS.GroupKey = "8a" }, "group_key"},
		{"group key in capitals", func(c *Config) { c.KMS.GroupKey = strings.Repeat("8A", 96) }, "group_key"},
		{"instance", func(c *Config) { c.InstanceID = "7" }, "instance_id"},
		{"tls", func(c *Config) { c.TLS = "off" }, "tls is"},
		{"acme without names", func(c *Config) { c.TLS = "acme" }, "tls is"},
		{"names without acme", func(c *Config) { c.ACME = testACME() }, "tls is"},
		{"acme", func(c *Config) { c.TLS, c.ACME = "acme", testACME() }, ""},
		{"acme of no name", func(c *Config) { c.TLS, c.ACME = "acme", &ACME{} }, "0 names"},
		{"images", func(c *Config) { c.Images = "any" }, "images is"},
		{"gpu", func(c *Config) { c.GPU = "yes" }, "gpu is"},
		{"unknown endpoint", func(c *Config) { c.Open = []string{"everything"} }, "open names"},
		{"unsorted", func(c *Config) { c.Open = []string{"logs", "compose"} }, "sorted"},
		{"variables", func(c *Config) { c.Env = []string{"API_KEY", "GOOGLE_KEY"} }, ""},
		{"unsorted variables", func(c *Config) { c.Env = []string{"B", "A"} }, "sorted"},
		{"variable of another spelling", func(c *Config) { c.Env = []string{"A=B"} }, "letters, digits"},
		{"B4: variable that steers compose", func(c *Config) { c.Env = []string{"COMPOSE_FILE"} }, "steer the container engine"},
		{"B4: variable that steers the loader", func(c *Config) { c.Env = []string{"LD_PRELOAD"} }, "steer the container engine"},
		{"B4: proxy", func(c *Config) { c.Env = []string{"https_proxy"} }, "steer the container engine"},
		{"earlier epochs", func(c *Config) { c.KMS.Epoch, c.KMS.Previous = 2, []EpochKey{{1, key}, {0, key}} }, ""},
		{"earlier epochs in disorder", func(c *Config) { c.KMS.Epoch, c.KMS.Previous = 2, []EpochKey{{0, key}, {1, key}} }, "does not come before"},
		{"unknown provider", func(c *Config) { c.KMS.Provider = "mine" }, "kms.provider"},
		{"contract without its provider", func(c *Config) { c.KMS.Contract = &Contract{} }, "another provider"},
		{"contract", secretNetwork, ""},
		{"contract with a group key", func(c *Config) { secretNetwork(c); c.KMS.GroupKey = key }, "no group key"},
		{"contract that is not pinned", func(c *Config) { secretNetwork(c); c.KMS.Contract.ConsensusKey = "" }, "consensus key"},
		{"contract without address", func(c *Config) { secretNetwork(c); c.Service = "svm1owner/guestbook" }, "contract address"},
		{"repeated", func(c *Config) { c.Open = []string{"logs", "logs"} }, "sorted"},
		{"tokens", func(c *Config) { c.Tokens = []Hash{{1}, {2}} }, ""},
		{"unsorted tokens", func(c *Config) { c.Tokens = []Hash{{2}, {1}} }, "tokens is"},
		{"repeated tokens", func(c *Config) { c.Tokens = []Hash{{1}, {1}} }, "tokens is"},
		{"zero token", func(c *Config) { c.Tokens = []Hash{{}} }, "tokens is"},
		{"api", func(c *Config) { c.API = API{"web": {"info", "quote"}} }, ""},
		{"api: unknown grant", func(c *Config) { c.API = API{"web": {"root"}} }, `"root" is not one of info, quote`},
		{"api: keys", func(c *Config) { c.API = API{"web": {"instance-key/a", "key/a/b", "key/a/c", "sign/ed25519"}} }, ""},
		{"api: all keys", func(c *Config) { c.API = API{"web": {"key/"}} }, "is no path of a key"},
		{"api: any key", func(c *Config) { c.API = API{"web": {"key/*"}} }, "is no path of a key"},
		{"api: placeholder", func(c *Config) { c.API = API{"web": {"key/<path>"}} }, "is no path of a key"},
		{"api: unknown signature", func(c *Config) { c.API = API{"web": {"sign/rsa"}} }, `"sign/rsa" is not one of`},
		{"api: too many keys", func(c *Config) {
			c.API = API{"web": {"key/a", "key/b", "key/c", "key/d", "key/e"}, "db": {"instance-key/a", "instance-key/b", "sign/ed25519", "sign/secp256k1"}}
		}, "name 9 keys"},
		{"api: keys of another provider", func(c *Config) { secretNetwork(c); c.API = API{"web": {"key/a"}} }, "has no key for key/a"},
		{"api: no keys of another provider", func(c *Config) { secretNetwork(c); c.API = API{"web": {"quote"}} }, ""},
		{"api: no grants", func(c *Config) { c.API = API{"web": nil} }, "grants of web"},
		{"api: unsorted", func(c *Config) { c.API = API{"web": {"quote", "info"}} }, "sorted"},
		{"api: repeated", func(c *Config) { c.API = API{"web": {"info", "info"}} }, "sorted"},
		{"api: path for a name", func(c *Config) { c.API = API{"../web": {"info"}} }, "cannot have an API"},
		{"too many tokens", func(c *Config) { c.Tokens = make([]Hash, MaxTokens+1) }, "17 tokens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			tt.change(&c)
			err := c.Validate()
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("Validate() = %v, want an error with %q", err, tt.wantErr)
			}
		})
	}
}

func TestParseConfigAcceptsOneSpelling(t *testing.T) {
	good, err := testConfig().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseConfig(good); err != nil {
		t.Fatalf("ParseConfig of the canonical form: %v", err)
	}
	tests := []struct{ name, in, wantErr string }{
		{"newline at the end", string(good) + "\n", "canonical"},
		{"second document", string(good) + "{}", "trailing"},
		{"white space", strings.Replace(string(good), ":", ": ", 1), "canonical"},
		{"unknown field", strings.Replace(string(good), `{"version"`, `{"extra":1,"version"`, 1), "unknown field"},
		{"repeated field", strings.Replace(string(good), `{"version":1`, `{"version":1,"version":1`, 1), "canonical"},
		{"another case", strings.Replace(string(good), `"tls"`, `"TLS"`, 1), "canonical"},
		{"empty", "", "decode"},
		{"too large", strings.Repeat(" ", MaxConfigSize+1), "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseConfig([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("ParseConfig = %v, want an error with %q", err, tt.wantErr)
			}
		})
	}
}

// TestTokensAreAbsentUnlessUsed: a config without tokens has the digest that it
// had before there were any.
func TestTokensAreAbsentUnlessUsed(t *testing.T) {
	without, err := testConfig().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(without, []byte("tokens")) {
		t.Errorf("canonical form is %s", without)
	}
	with := testConfig()
	with.Tokens = []Hash{HashOf([]byte("a token"))}
	b, err := with.Canonical()
	if err != nil || !bytes.Contains(b, []byte(`"open":["compose"],"tokens":["`)) {
		t.Errorf("canonical form is %s, %v", b, err)
	}
	if _, err := ParseConfig(b); err != nil {
		t.Error(err)
	}
}

func TestTemplateDiffersOnlyInInstance(t *testing.T) {
	a, b := testConfig(), testConfig()
	b.InstanceID = strings.Repeat("1e", 16)
	da, _ := a.Digest()
	db, _ := b.Digest()
	if da == db {
		t.Fatal("two instances have the same config digest")
	}
	ta, _ := a.Template().Digest()
	tb, _ := b.Template().Digest()
	if ta != tb {
		t.Fatal("two instances of one workload have different templates")
	}
}

func FuzzParseConfig(f *testing.F) {
	good, _ := testConfig().Canonical()
	f.Add(good)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		again, err := c.Canonical()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which encodes as %q (%v)", b, again, err)
		}
	})
}
