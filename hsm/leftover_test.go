package hsm_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"mintmark/fixtures/canary"
	"mintmark/hsm"
	"mintmark/hsm/secret"
)

// childEnv names the work that the test binary does as a child, whose memory is
// then looked through.
const childEnv = "MINTMARK_HSM_TEST_CHILD"

func TestMain(m *testing.M) {
	work := os.Getenv(childEnv)
	if work == "" {
		os.Exit(m.Run())
	}
	if err := leave(context.Background(), work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// leave draws a value, tells it to the parent, makes a verifier of it if asked,
// closes everything and waits to be looked at.
func leave(ctx context.Context, work string) error {
	g, _ := hsm.Default(hsm.LoginPassword)
	value, err := g.Draw(ctx, randomFunc(system))
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(value.Bytes()); err != nil {
		return err
	}
	if work != "draw" {
		v, err := hsm.Verifier(ctx, work, value, randomFunc(system))
		if err != nil {
			return err
		}
		v.Close()
	}
	value.Close()
	if secret.Erasing() {
		runtime.GC() // which is when the garbage of secret.Do is erased
		runtime.GC()
	}
	if _, err := os.Stdout.Write([]byte{'.'}); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func system(_ context.Context, n int) (*secret.Value, error) {
	v := secret.New(n)
	rand.Read(v.Bytes())
	return v, nil
}

// leftovers returns where the value still is after the work.
func leftovers(t *testing.T, work string) []canary.Found {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childEnv+"="+work)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	value := make([]byte, 15+1)
	if _, err := io.ReadFull(out, value); err != nil {
		t.Fatal(err)
	}
	net := canary.New()
	net.AddPlain(work, value[:15])
	found, err := net.Process(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// yescrypt's library hashes the value with an HMAC of its own, whose last block
// stays in the heap: one copy, which docs/secrets.md lists. All else leaves none.
func TestWhatIsLeftOfAClosedValue(t *testing.T) {
	for _, work := range append(hsm.Schemes(), "draw") {
		known := 0
		if work == hsm.Yescrypt && !secret.Erasing() {
			known = 1
		}
		found := leftovers(t, work)
		if len(found) > known {
			t.Errorf("%s leaves %d copies of the value, want at most %d: %v", work, len(found), known, found)
		}
		for _, f := range found {
			if f.Mapping.Secret() {
				t.Errorf("%s leaves a copy in the secret pages: %v", work, f)
			}
		}
	}
}
