// Package canary_test plants secrets in a whole station and looks for them where
// none may be: on disk, in what commands print, in logs, answers, transcripts and
// backups, in what the kernel shows of a process, and in the memory of one whose
// dumps were allowed again.
package canary_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// workerEnv makes the test binary work as a process that is looked into: what it
// does is in its arguments.
const workerEnv = "MINTMARK_CANARY_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := work(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// allowDumps takes back what secret.Harden did, and reports whether the kernel
// would write a core: the limit can be raised again by root only.
func allowDumps() (core bool, err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return false, fmt.Errorf("allow dumps: %w", err)
	}
	err = unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel without Yama needs no such permission
		return false, fmt.Errorf("let gcore in: %w", err)
	}
	const all = unix.RLIM_INFINITY
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: all, Max: all}) == nil, nil
}
