package keys

import (
	"bytes"
	"crypto/rand"
	"testing"
)

// sigmaOf is the key named id, made by the secret's only share.
func sigmaOf(t testing.TB, share Share, id ID) Signature {
	t.Helper()
	p, err := share.Partial(id)
	if err != nil {
		t.Fatal(err)
	}
	sigma, err := Combine(1, []Partial{p})
	if err != nil {
		t.Fatal(err)
	}
	return sigma
}

func envID() ID { return ID{Service: "svm1owner/web", Scope: ScopeService, Name: "env"} }

func TestEncryptToAnID(t *testing.T) {
	c, shares := deal(t, 1, 1)
	group, id, aad := c.GroupKey(), envID(), []byte("svm1owner/web 3")
	sigma := sigmaOf(t, shares[0], id)
	for _, size := range []int{0, 1, 1000, MaxCiphertext - CiphertextOverhead} {
		plain := bytes.Repeat([]byte{0xa5}, size)
		sealed, err := Encrypt(rand.Reader, group, id, plain, aad)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != size+CiphertextOverhead {
			t.Fatalf("%d bytes became %d", size, len(sealed))
		}
		got, err := Decrypt(group, id, sigma, sealed, aad)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	if _, err := Encrypt(rand.Reader, group, id, make([]byte, MaxCiphertext-CiphertextOverhead+1), nil); err == nil {
		t.Error("too much was encrypted")
	}
	if _, err := Encrypt(rand.Reader, PublicKey{}, id, nil, nil); err == nil {
		t.Error("encrypted to nobody")
	}
	if _, err := Encrypt(rand.Reader, group, ID{}, nil, nil); err == nil {
		t.Error("encrypted to no id")
	}
	if _, err := Encrypt(failing{}, group, id, nil, nil); err == nil {
		t.Error("encrypted without randomness")
	}
}

// TestCiphertextsOpenForNobodyElse alters every input of Decrypt, and every byte
// of the ciphertext.
func TestCiphertextsOpenForNobodyElse(t *testing.T) {
	c, shares := deal(t, 1, 1)
	other, others := deal(t, 1, 1)
	group, id, aad := c.GroupKey(), envID(), []byte("aad")
	sigma := sigmaOf(t, shares[0], id)
	sealed, err := Encrypt(rand.Reader, group, id, []byte("TOKEN=1"), aad)
	if err != nil {
		t.Fatal(err)
	}
	registry := id
	registry.Name = "registry"
	next := id
	next.Epoch = 1
	for name, open := range map[string]func() ([]byte, error){
		"other id's key":    func() ([]byte, error) { return Decrypt(group, id, sigmaOf(t, shares[0], registry), sealed, aad) },
		"other id":          func() ([]byte, error) { return Decrypt(group, registry, sigma, sealed, aad) },
		"other epoch":       func() ([]byte, error) { return Decrypt(group, next, sigmaOf(t, shares[0], next), sealed, aad) },
		"other group's key": func() ([]byte, error) { return Decrypt(group, id, sigmaOf(t, others[0], id), sealed, aad) },
		"other group":       func() ([]byte, error) { return Decrypt(other.GroupKey(), id, sigma, sealed, aad) },
		"other aad":         func() ([]byte, error) { return Decrypt(group, id, sigma, sealed, nil) },
		"no key":            func() ([]byte, error) { return Decrypt(group, id, Signature{}, sealed, aad) },
		"no group":          func() ([]byte, error) { return Decrypt(PublicKey{}, id, sigma, sealed, aad) },
		"invalid id":        func() ([]byte, error) { return Decrypt(group, ID{}, sigma, sealed, aad) },
		"truncated":         func() ([]byte, error) { return Decrypt(group, id, sigma, sealed[:len(sealed)-1], aad) },
		"too short":         func() ([]byte, error) { return Decrypt(group, id, sigma, sealed[:CiphertextOverhead-1], aad) },
		"too long":          func() ([]byte, error) { return Decrypt(group, id, sigma, make([]byte, MaxCiphertext+1), aad) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: decrypted", name)
		}
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if _, err := Decrypt(group, id, sigma, b, aad); err == nil {
			t.Fatalf("decrypted with byte %d altered", i)
		}
	}
	again, err := Encrypt(rand.Reader, group, id, []byte("TOKEN=1"), aad)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again, sealed) {
		t.Error("encryption is not randomised")
	}
}

// TestK4_FewerThanThresholdCannotDecrypt: t-1 nodes' partials, combined as well
// as they can be, open nothing.
func TestK4_FewerThanThresholdCannotDecrypt(t *testing.T) {
	c, shares := deal(t, 3, 4)
	id := envID()
	sealed, err := Encrypt(rand.Reader, c.GroupKey(), id, []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := partials(t, shares, id)
	subsets(4, 2, func(chosen []int) {
		sigma, err := Combine(2, []Partial{all[chosen[0]], all[chosen[1]]})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decrypt(c.GroupKey(), id, sigma, sealed, nil); err == nil {
			t.Fatalf("nodes %v alone decrypted", chosen)
		}
	})
	sigma, err := Combine(3, all)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decrypt(c.GroupKey(), id, sigma, sealed, nil); err != nil || string(got) != "secret" {
		t.Fatalf("%q, %v", got, err)
	}
}

func FuzzDecrypt(f *testing.F) {
	c, shares, err := Split(rand.Reader, 1, 1)
	if err != nil {
		f.Fatal(err)
	}
	id := envID()
	sigma := sigmaOf(f, shares[0], id)
	sealed, err := Encrypt(rand.Reader, c.GroupKey(), id, []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{ibeVersion})
	f.Add(make([]byte, CiphertextOverhead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := Decrypt(c.GroupKey(), id, sigma, b, nil); err == nil && !bytes.Equal(b, sealed) {
			t.Fatalf("%x was decrypted to %x: a forgery", b, plain)
		}
	})
}
