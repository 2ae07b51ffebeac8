package secret_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/hsm/secret"
)

// childEnv makes the test binary act as one of the children instead. Limits and
// dumps belong to a process, so each needs one of its own.
const childEnv = "MINTMARK_SECRET_TEST_CHILD"

func TestMain(m *testing.M) {
	children := map[string]func() error{
		"locked": lockedChild, "harden": hardenChild, "dump": dumpChild,
	}
	child, ok := children[os.Getenv(childEnv)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func command(t *testing.T, child string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, args...)
	c.Env = append(os.Environ(), childEnv+"="+child)
	c.Dir = t.TempDir()
	return c
}

// lockedChild limits locked memory to the kilobytes that its argument says, and
// prints what Locked says.
func lockedChild() error {
	var limit uint64
	if _, err := fmt.Sscan(os.Args[1], &limit); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit << 10, Max: limit << 10}); err != nil {
		return err
	}
	fmt.Println(secret.Locked())
	v := secret.From([]byte("still usable"))
	if string(v.Bytes()) != "still usable" {
		return fmt.Errorf("the value is %q", v.Bytes())
	}
	return nil
}

func TestLockedSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	for limit, want := range map[string]string{
		"0":   "lock 64 KiB: operation not permitted",
		"32":  "lock 64 KiB: cannot allocate memory",
		"128": "128 KiB of memory may be locked, want 65536 KiB", // enough for one value, not for an import
	} {
		out := unprivileged(t, command(t, "locked", limit))
		remedy := "; give the service LimitMEMLOCK=64M (systemd) or CAP_IPC_LOCK, or raise ulimit -l to 65536"
		if got := strings.TrimSpace(out); got != want+remedy {
			t.Errorf("limit %s KiB: Locked() = %s, want %s%s", limit, got, want, remedy)
		}
	}
	for _, tt := range []struct {
		limit      uint64
		privileged bool
		want       bool
	}{{64<<20 - 1, false, false}, {64 << 20, false, true}, {0, true, true}, {unix.RLIM_INFINITY, false, true}} {
		if err := secret.Enough(tt.limit, tt.privileged); (err == nil) != tt.want {
			t.Errorf("a limit of %d, privileged %v: got %v, want enough %v", tt.limit, tt.privileged, err, tt.want)
		}
	}
}

// unprivileged runs c without the right to lock as much memory as it likes, also
// when the tests run as root: from a thread, never used again, that can't pass
// the right on.
func unprivileged(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if os.Geteuid() == 0 {
			if err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_IPC_LOCK, 0, 0, 0); err != nil {
				return
			}
		}
		out, err = c.CombinedOutput()
	}()
	<-done
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// hardenChild allows itself a core, hardens, and dies in the way that leaves one.
func hardenChild() error {
	if err := allowCore(); err != nil {
		return err
	}
	if err := secret.Harden(); err != nil {
		return err
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	fmt.Printf("dumpable %d, core limit %d to %d\n", dumpable, limit.Cur, limit.Max)
	debug.SetTraceback("crash")
	panic("die with a core")
}

// allowCore raises the limit of core files as far as it goes.
func allowCore() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_CORE, &limit)
}

func TestAHardenedProcessLeavesNoCore(t *testing.T) {
	c := command(t, "harden")
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Fatalf("the child ended with %v, want an abort; it wrote %s", c.ProcessState, out.String())
	}
	if status.CoreDump() {
		t.Error("the hardened child left a core")
	}
	if cores, _ := filepath.Glob(filepath.Join(c.Dir, "*")); len(cores) > 0 {
		t.Errorf("the hardened child left %s", cores)
	}
	if got, want := out.String(), "dumpable 0, core limit 0 to 0\n"; got != want {
		t.Errorf("after Harden: %s, want %s", got, want)
	}
}

func TestSwapAreasAreRead(t *testing.T) {
	table := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" +
		"/dev/dm-1                               partition\t8388604\t\t0\t\t-2\n" +
		"/swap\\040file                          file\t\t1048572\t\t12\t\t-3\n"
	if got, want := secret.SwapAreas(table), []string{"/dev/dm-1", `/swap\040file`}; !slices.Equal(got, want) {
		t.Errorf("areas are %q, want %q", got, want)
	}
	if got := secret.SwapAreas("Filename Type Size Used Priority\n"); len(got) > 0 {
		t.Errorf("areas of an empty table are %q", got)
	}
	if _, err := secret.Swap(); err != nil {
		t.Errorf("Swap on this machine: %v", err)
	}
}

func TestAControlGroupCanForbidSwap(t *testing.T) {
	root := t.TempDir()
	for group, limit := range map[string]string{"": "0\n", "open": "max\n", "some": "4096\n", "shut": "0\n", "shut/inner": "max\n"} {
		dir := filepath.Join(root, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte(limit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]bool{
		"0::/open\n":            false,
		"0::/some\n":            false,
		"0::/shut\n":            true,
		"0::/shut/inner\n":      true, // what is above counts
		"0::/shut/inner/gone\n": true,
		"0::/gone\n":            false,
		"0::/\n":                false, // the root has no limit
		"1:memory:/shut\n":      false, // version 1 has other files
		"":                      false,
	} {
		if got := secret.SwapForbidden(root, groups); got != want {
			t.Errorf("group %q: forbidden is %v, want %v", groups, got, want)
		}
	}
}
