package soft_test

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mintmark/fixtures/canary"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
)

const messageLen = 40

// leave uses an authority for all that it can, tells the parent a message and a
// row key that it used, closes everything and waits to be looked at.
func leave(ctx context.Context, dir string) error {
	a, err := soft.Open(dir)
	if err != nil {
		return err
	}
	msg, err := a.Random(ctx, messageLen)
	if err != nil {
		return err
	}
	many := make([][]byte, 2*soft.Chunk)
	for i := range many {
		many[i] = msg.Bytes()
	}
	if err := a.Sum(ctx, 1, many, make([][32]byte, len(many))); err != nil {
		return err
	}
	key, wrapped, err := a.NewRowKey(ctx, "batch")
	if err != nil {
		return err
	}
	again, err := a.RowKey(ctx, "batch", wrapped)
	if err != nil {
		return err
	}
	for _, v := range []*secret.Value{msg, key} {
		if _, err := os.Stdout.Write(v.Bytes()); err != nil {
			return err
		}
	}
	msg.Close()
	key.Close()
	again.Close()
	a.Close()
	if _, err := os.Stdout.Write([]byte{'.'}); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func TestAClosedAuthorityLeavesNothing(t *testing.T) {
	dir := create(t)
	exe, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childEnv+"=leave:"+dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	defer c.Wait()
	defer in.Close()

	used := make([]byte, messageLen+32+1)
	_, err = io.ReadFull(out, used)
	must(t, err)
	net := canary.New()
	net.AddPlain("message", used[:messageLen])
	net.AddPlain("row key", used[messageLen:messageLen+32])
	net.AddPlain("index key", readFile(t, dir, "index.key")[28:60])
	net.AddPlain("wrapping key", readFile(t, dir, "wrap.key")[28:60])
	object := readFile(t, dir, "objects/"+objectName(t, dir))
	net.AddPlain("secret of the object", object)
	wrapping, err := hkdf.Expand(sha256.New, readFile(t, dir, "wrap.key")[28:60], "mintmark/row-key"+string(object)+"batch", 32)
	must(t, err)
	net.AddPlain("key of the object", wrapping)
	found, err := net.Process(c.Process.Pid)
	must(t, err)
	for _, f := range found {
		t.Errorf("left behind: %v", f)
	}
}

// A value that is not closed is never freed.
func TestEveryCallClosesWhatItOpens(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "authority")
	before := secret.Held()
	must(t, soft.Create(dir))
	if _, err := soft.Rotate(dir); err != nil {
		t.Fatal(err)
	}
	if err := soft.Create(dir); err == nil {
		t.Fatal("Create made an authority twice")
	}
	a, err := soft.Open(dir)
	must(t, err)
	opened := secret.Held()
	must(t, a.Sum(ctx, 1, make([][]byte, 2*soft.Chunk), make([][32]byte, 2*soft.Chunk)))
	key, wrapped, err := a.NewRowKey(ctx, "batch")
	must(t, err)
	key.Close()
	again, err := a.RowKey(ctx, "batch", wrapped)
	must(t, err)
	again.Close()
	wrapped[20] ^= 1
	if _, err := a.RowKey(ctx, "batch", wrapped); err == nil {
		t.Fatal("a damaged key opens")
	}
	if _, err := a.RowKey(ctx, "no batch", wrapped); err == nil {
		t.Fatal("a key opens without its object")
	}
	if _, err := a.Shred(ctx, "batch"); err != nil {
		t.Fatal(err)
	}
	if got := secret.Held(); got != opened {
		t.Errorf("%d values more are open after use", got-opened)
	}
	a.Close()
	must(t, os.Truncate(filepath.Join(dir, "wrap.key"), 60))
	if _, err := soft.Open(dir); err == nil {
		t.Fatal("a spoiled authority opens")
	}
	if got := secret.Held(); got != before {
		t.Errorf("%d values are open after Close", got-before)
	}
}

func objectName(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir + "/objects")
	if err != nil || len(names) != 1 {
		t.Fatalf("objects are %v, %v, want one", names, err)
	}
	return names[0].Name()
}
