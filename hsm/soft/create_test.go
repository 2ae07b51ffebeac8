package soft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/hsm/soft"
)

// childEnv makes the test binary a child that works in the folder it names, so
// that it can be killed at any system call, or its memory looked through.
const childEnv = "MINTMARK_SOFT_TEST_CHILD"

func TestMain(m *testing.M) {
	work, dir, ok := strings.Cut(os.Getenv(childEnv), ":")
	if !ok {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // strace counts the calls of each thread for itself
	var err error
	switch work {
	case "create":
		err = soft.Create(dir)
	case "rotate":
		_, err = soft.Rotate(dir)
	case "leave":
		err = leave(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir := create(t)
	index, wrap := readFile(t, dir, "index.key"), readFile(t, dir, "wrap.key")
	if err := soft.Create(dir); !errors.Is(err, soft.ErrExists) ||
		err.Error() != "create authority: authority exists already, nothing was changed: "+dir {
		t.Errorf("second Create: got %v, want ErrExists", err)
	}
	must(t, os.Remove(filepath.Join(dir, "wrap.key")))
	if err := soft.Create(dir); !errors.Is(err, soft.ErrExists) {
		t.Errorf("Create where the wrapping key was lost: got %v, want ErrExists", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "wrap.key"), wrap, 0o600))
	if !bytes.Equal(readFile(t, dir, "index.key"), index) {
		t.Error("a later Create changed the index key")
	}
}

func TestCreateKeepsAWrappingKeyThatItCantRead(t *testing.T) {
	dir := create(t)
	wrap := readFile(t, dir, "wrap.key")
	wrap[40] ^= 1
	must(t, os.WriteFile(filepath.Join(dir, "wrap.key"), wrap, 0o600))
	must(t, os.Remove(filepath.Join(dir, "index.key")))
	if err := soft.Create(dir); !errors.Is(err, soft.ErrKeyFile) {
		t.Errorf("beside a damaged wrapping key: got %v, want ErrKeyFile", err)
	}
	if !bytes.Equal(readFile(t, dir, "wrap.key"), wrap) || existing(filepath.Join(dir, "index.key")) != nil {
		t.Error("Create changed the damaged key, or made an index key beside it")
	}
}

// A file mode is what open is asked for, less the umask, which must not matter.
func TestCreateLetsNobodyElseIn(t *testing.T) {
	for _, mask := range []int{0, 0o027, 0o077} {
		old := unix.Umask(mask)
		dir := create(t)
		a := open(t, dir)
		key, _, err := a.NewRowKey(t.Context(), "batch")
		unix.Umask(old)
		must(t, err)
		key.Close()
		for path, want := range map[string]fs.FileMode{
			dir:                             fs.ModeDir | 0o700,
			filepath.Join(dir, "index.key"): 0o600,
			filepath.Join(dir, "wrap.key"):  0o600,
			filepath.Join(dir, "objects"):   fs.ModeDir | 0o700,
			a.ObjectPath("batch"):           0o600,
		} {
			info, err := os.Stat(path)
			must(t, err)
			if info.Mode() != want {
				t.Errorf("umask %03o: %s has mode %v, want %v", mask, path, info.Mode(), want)
			}
		}
	}
}

func TestCreateUsesAnEmptyFolderButNotAnOpenOne(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, soft.Create(dir))
	open(t, dir)

	dir = t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	if err := soft.Create(dir); err == nil || !strings.Contains(err.Error(), "has mode 0777") {
		t.Errorf("in a folder that all can write: got %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the refused folder has %v, %v, want nothing", names, err)
	}
	if err := soft.Create(filepath.Join(dir, "a", "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent folder: got %v, want that it doesn't exist", err)
	}
}

func TestOfManyCreatesOneWins(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = soft.Create(dir) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, soft.ErrExists) {
			t.Errorf("a Create that lost: got %v, want ErrExists", err)
		}
	}
	if won != 1 {
		t.Errorf("%d Creates won, want 1", won)
	}
	open(t, dir)
}

func TestRotateAddsAVersion(t *testing.T) {
	dir := create(t)
	before := open(t, dir)
	msgs := [][]byte{[]byte("message")}
	var first, again, second [1][32]byte
	must(t, before.Sum(t.Context(), 1, msgs, first[:]))

	v, err := soft.Rotate(dir)
	if v != 2 || err != nil {
		t.Fatalf("Rotate = %d, %v, want 2", v, err)
	}
	after := open(t, dir)
	if !slices.Equal(before.Versions(), []uint32{1}) || !slices.Equal(after.Versions(), []uint32{1, 2}) {
		t.Errorf("versions are %d, then %d, want 1, then 1 and 2", before.Versions(), after.Versions())
	}
	if before.ID() != after.ID() {
		t.Errorf("Rotate changed the name from %s to %s", before.ID(), after.ID())
	}
	must(t, after.Sum(t.Context(), 1, msgs, again[:]))
	must(t, after.Sum(t.Context(), 2, msgs, second[:]))
	if again != first || second == first {
		t.Error("version 1 changed, or version 2 is the same key")
	}
}

func TestRotateStopsAtTheLastVersion(t *testing.T) {
	dir := create(t)
	for want := uint32(2); want <= 64; want++ {
		if v, err := soft.Rotate(dir); v != want || err != nil {
			t.Fatalf("Rotate = %d, %v, want %d", v, err, want)
		}
	}
	if n := len(open(t, dir).Versions()); n != 64 {
		t.Errorf("there are %d versions, want 64", n)
	}
	if _, err := soft.Rotate(dir); err == nil || err.Error() != "rotate index key: index key has 64 versions, and can't have more" {
		t.Errorf("the 65th: got %v", err)
	}
	open(t, dir)
}

// calls are those that change a folder or make it durable.
const calls = "mkdirat,write,fsync,linkat,unlinkat,renameat"

// interrupt runs the work in a child and strikes at its n-th call of a kind. It
// says whether there was such a call.
func interrupt(t *testing.T, work, dir, call, effect string, n int) (hit bool) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	log := filepath.Join(t.TempDir(), "strace.log")
	args := []string{"-f", "-o", log, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, effect, n)}
	for _, path := range []string{"..", ".", "index.key", "index.key.new", "wrap.key", "wrap.key.new"} {
		args = append(args, "-P", filepath.Join(dir, path)) // not what the runtime writes to itself
	}
	c := exec.CommandContext(t.Context(), "strace", append(args, exe)...)
	c.Env = append(os.Environ(), childEnv+"="+work+":"+dir)
	out, err := c.CombinedOutput()
	trace, readErr := os.ReadFile(log)
	must(t, readErr)
	injected := bytes.Contains(trace, []byte("(INJECTED)"))
	killed := c.ProcessState.Sys().(syscall.WaitStatus).Signaled() || bytes.Contains(trace, []byte("killed by SIGKILL"))
	hit = injected || killed
	if hit == (err == nil) {
		t.Errorf("%s with %s of %s %d ended with %v: %s\n%s", work, effect, call, n, err, out, trace)
	}
	return hit
}

// strikes runs f for each call and each way to strike, until there is no such
// call any more. It wants as many as there are.
func strikes(t *testing.T, want map[string]int, f func(t *testing.T, call, effect string, n int) (hit bool)) {
	for call := range strings.SplitSeq(calls, ",") {
		for _, effect := range []string{"signal=KILL", "error=EIO"} {
			t.Run(call+" "+effect, func(t *testing.T) {
				n := 1
				for f(t, call, effect, n) {
					n++
				}
				if n-1 != want[call] {
					t.Errorf("struck %d times, want %d", n-1, want[call])
				}
			})
		}
	}
}

// TestCreateCanBeRunAgainAfterACrash kills it before, and fails, each of its
// system calls.
func TestCreateCanBeRunAgainAfterACrash(t *testing.T) {
	want := map[string]int{"mkdirat": 1, "write": 2, "fsync": 5, "linkat": 2, "unlinkat": 4}
	strikes(t, want, func(t *testing.T, call, effect string, n int) bool {
		dir := filepath.Join(t.TempDir(), "authority")
		hit := interrupt(t, "create", dir, call, effect, n)
		index := existing(filepath.Join(dir, "index.key"))
		wrap := existing(filepath.Join(dir, "wrap.key"))
		if err := soft.Create(dir); err != nil && !errors.Is(err, soft.ErrExists) {
			t.Errorf("Create after %s of %s %d: %v", effect, call, n, err)
		}
		open(t, dir)
		if index != nil && !bytes.Equal(index, readFile(t, dir, "index.key")) ||
			wrap != nil && !bytes.Equal(wrap, readFile(t, dir, "wrap.key")) {
			t.Errorf("Create after %s of %s %d replaced a key", effect, call, n)
		}
		return hit
	})
}

func existing(path string) []byte {
	b, _ := os.ReadFile(path)
	return b
}

func TestRotateLosesNothingInACrash(t *testing.T) {
	want := map[string]int{"write": 1, "fsync": 2, "unlinkat": 1, "renameat": 1}
	strikes(t, want, func(t *testing.T, call, effect string, n int) bool {
		dir := create(t)
		old := readFile(t, dir, "index.key")
		hit := interrupt(t, "rotate", dir, call, effect, n)
		now := readFile(t, dir, "index.key")
		if !bytes.Equal(old, now) && !bytes.Equal(old[16:], now[16:len(old)]) {
			t.Errorf("%s of %s %d changed the first version", effect, call, n)
		}
		open(t, dir)
		if _, err := soft.Rotate(dir); err != nil {
			t.Errorf("Rotate after %s of %s %d: %v", effect, call, n, err)
		}
		return hit
	})
}

// Durable means: the file before its name, and the name before we answer.
func TestKeysAreDurableBeforeTheyAreAnswered(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	dir := filepath.Join(t.TempDir(), "authority")
	log := filepath.Join(t.TempDir(), "strace.log")
	c := exec.CommandContext(t.Context(), "strace", "-f", "-y", "-o", log, "-e", "trace=mkdirat,fsync,linkat", exe)
	c.Env = append(os.Environ(), childEnv+"=create:"+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	trace, err := os.ReadFile(log)
	must(t, err)
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(.*$`).FindAllStringSubmatch(string(trace), -1) {
		name := ""
		for _, known := range []string{"wrap.key", "index.key", "authority", filepath.Dir(dir)} {
			if strings.Contains(m[0], known) {
				name = filepath.Base(known)
				break
			}
		}
		got = append(got, m[1]+" "+name)
	}
	want := []string{
		"mkdirat authority", "fsync " + filepath.Base(filepath.Dir(dir)),
		"fsync wrap.key", "linkat wrap.key", "fsync authority",
		"fsync index.key", "linkat index.key", "fsync authority",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
