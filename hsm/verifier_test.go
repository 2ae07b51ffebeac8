package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mintmark/hsm"
	"mintmark/hsm/secret"
)

// golden reads the values and verifiers of testdata/verifiers.txt.
func golden(t *testing.T) [][2]string {
	t.Helper()
	data, err := os.ReadFile("testdata/verifiers.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all [][2]string
	for line := range strings.Lines(string(data)) {
		if value, verifier, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			all = append(all, [2]string{value, verifier})
		}
	}
	if len(all) < 10 {
		t.Fatalf("%d golden verifiers, want 10 at least", len(all))
	}
	return all
}

func TestVerifiersAreThoseOfCrypt(t *testing.T) {
	for _, g := range golden(t) {
		value, want := g[0], g[1]
		var got *secret.Value
		if sha := regexp.MustCompile(`^\$6\$rounds=(\d+)\$([^$]+)\$`).FindStringSubmatch(want); sha != nil {
			rounds, err := strconv.Atoi(sha[1])
			if err != nil {
				t.Fatal(err)
			}
			got = hsm.SHA512CryptWith([]byte(value), []byte(sha[2]), rounds)
		} else {
			var err error
			if got, err = hsm.YescryptWith([]byte(value), []byte(want[:strings.LastIndex(want, "$")])); err != nil {
				t.Fatal(err)
			}
		}
		if string(got.Bytes()) != want {
			t.Errorf("verifier of %q is %s, want %s", value, got.Bytes(), want)
		}
		got.Close()
	}
}

// The machine's own crypt(3) takes our verifier as salt and must come to it again.
func TestTheSystemAcceptsOurVerifiers(t *testing.T) {
	for scheme, form := range map[string]string{
		hsm.SHA512Crypt: `^\$6\$rounds=5000\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$`,
		hsm.Yescrypt:    `^\$y\$j9T\$[./0-9A-Za-z]{22}\$[./0-9A-Za-z]{43}$`,
	} {
		g, _ := hsm.Default(hsm.LoginPassword)
		r := newStream(5)
		value, err := g.Draw(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		v, err := hsm.Verifier(t.Context(), scheme, value, r)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(form).Match(v.Bytes()) {
			t.Errorf("%s: verifier is %s, want the form %s", scheme, v.Bytes(), form)
		}
		c := exec.CommandContext(t.Context(), "perl", "-e", `chomp($p = <STDIN>); chomp($v = <STDIN>); print crypt($p, $v)`)
		c.Stdin = strings.NewReader(string(value.Bytes()) + "\n" + string(v.Bytes()) + "\n")
		out, err := c.Output()
		if err != nil || !bytes.Equal(out, v.Bytes()) {
			t.Errorf("%s: crypt(3) says %s, %v, want our %s", scheme, out, err, v.Bytes())
		}
		v.Close()
		value.Close()
	}
}

func TestEachVerifierHasItsOwnSalt(t *testing.T) {
	r := newStream(9)
	value := secret.From([]byte("CDFHJKMPQRTV234"))
	defer value.Close()
	for _, scheme := range hsm.Schemes() {
		seen := map[string]bool{}
		for range 3 {
			v, err := hsm.Verifier(t.Context(), scheme, value, r)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(v.Bytes())] = true
			v.Close()
		}
		if len(seen) != 3 {
			t.Errorf("%s: three verifiers of one value have %d salts", scheme, len(seen))
		}
	}
}

func TestVerifiersOfWhatADeviceReadsDifferentlyAreRefused(t *testing.T) {
	for _, tt := range []struct{ scheme, value, want string }{
		{hsm.SHA512Crypt, "", "value has 0 bytes, want 1 to 256 to make a verifier"},
		{hsm.Yescrypt, strings.Repeat("x", 257), "value has 257 bytes, want 1 to 256 to make a verifier"},
		{hsm.SHA512Crypt, "CDF\x00HJK", "value has a zero byte, which ends it on the device"},
		{"md5-crypt", "CDFHJK", `verifier "md5-crypt" is unknown, want sha512-crypt or yescrypt`},
	} {
		value := secret.From([]byte(tt.value))
		v, err := hsm.Verifier(t.Context(), tt.scheme, value, newStream(1))
		if err == nil || err.Error() != tt.want || v != nil {
			t.Errorf("%s of %d bytes: got %v, want %s", tt.scheme, value.Len(), err, tt.want)
		}
		value.Close()
	}
}

func TestAVerifierWithoutRandomnessFails(t *testing.T) {
	value := secret.From([]byte("CDFHJKMPQRTV234"))
	defer value.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, scheme := range hsm.Schemes() {
		if v, err := hsm.Verifier(ctx, scheme, value, newStream(1)); !errors.Is(err, context.Canceled) || v != nil {
			t.Errorf("%s: got %v, want context.Canceled", scheme, err)
		}
	}
}

func BenchmarkVerifier(b *testing.B) {
	value := secret.From([]byte("CDFHJKMPQRTV234"))
	defer value.Close()
	for _, scheme := range hsm.Schemes() {
		b.Run(scheme, func(b *testing.B) {
			r := newStream(1)
			for b.Loop() {
				v, err := hsm.Verifier(b.Context(), scheme, value, r)
				if err != nil {
					b.Fatal(err)
				}
				v.Close()
			}
		})
	}
}
